import { limits } from '../base/limits.js';
import { Waiters } from './admission-gate.js';

/** A stream that waits in a line, and accounts for what holds it. */
export interface HeldStream {
  /** The line holds its streams for another reason now. */
  holdReasonChanged(): void;
}

/** The streams of one topic at the publish gate, and what the topic has of the writer's queue. */
export class TopicLine {
  /** Its streams that are held, first come first served. */
  readonly waiting = new Waiters();
  /** Those of them that want to know why. */
  readonly held = new Set<HeldStream>();
  /** Submitted and not committed. */
  queuedBytes = 0;
  /** Kept for streams that were let in and have not sent their request yet. */
  reservedBytes = 0;
  /** The most that it had in the queue during the last round; of earlier ones half as much with each round. */
  recentBytes = 0;
  #peakBytes = 0;
  /** What the last round committed of it. */
  #roundBytes = 0;
  /** What it had less than the others that took all they could get. */
  #owedBytes = 0;
  /** Size of its last request; 0 before there was one. */
  requestBytes = 0;
  #holdReason: 'writer' | 'share' = 'writer';

  /** `share` once it was held although there was room, for as long as topics compete. */
  get holdReason(): 'writer' | 'share' {
    return this.#holdReason;
  }

  setHoldReason(reason: 'writer' | 'share'): void {
    if (reason === this.#holdReason) return;
    this.#holdReason = reason;
    for (const stream of this.held) stream.holdReasonChanged();
  }

  get usedBytes(): number {
    return this.queuedBytes + this.reservedBytes;
  }

  get isIdle(): boolean {
    return this.usedBytes === 0 && this.waiting.count === 0;
  }

  get isPressing(): boolean {
    return this.waiting.count > 0 || this.reservedBytes > 0;
  }

  /**
   * What of the queue it is going to use. A topic with a stream at the gate, or one that was just let in, takes all that
   * it can get. Another one is expected to use at most twice what it used lately; so it can grow to its share within a few
   * rounds, and what is kept for topics that send little is little.
   */
  get wantedBytes(): number {
    if (this.isPressing) return Number.POSITIVE_INFINITY;
    return 2 * Math.max(this.recentBytes, this.queuedBytes) + this.requestBytes;
  }

  /** Its next request would bring it nearer to the level than it is, or it has nothing at all. */
  isBelow(level: number): boolean {
    const { usedBytes } = this;
    if (usedBytes === 0 || level === Number.POSITIVE_INFINITY) return true;
    return usedBytes + this.requestBytes / 2 < level + this.#owedBytes * limits.owedPerRound;
  }

  submitted(bytes: number): void {
    this.queuedBytes += bytes;
    if (bytes > 0) this.requestBytes = bytes;
  }

  committed(bytes: number): void {
    this.#peakBytes = Math.max(this.#peakBytes, this.queuedBytes);
    this.queuedBytes -= bytes;
    this.#roundBytes += bytes;
  }

  /** After all that a round has committed. */
  roundCommitted(): void {
    this.recentBytes = Math.max(this.#peakBytes, Math.floor(this.recentBytes / 2));
    this.#peakBytes = this.queuedBytes;
    this.#roundBytes = 0;
  }

  get roundBytes(): number {
    return this.#roundBytes;
  }

  /** The lines that take all they can get had so much each in the last round, and may have so much in the queue. */
  owe(meanBytes: number, level: number): void {
    if (!this.isPressing || level === Number.POSITIVE_INFINITY) {
      this.#owedBytes = 0;
      return;
    }
    const owed = this.#owedBytes + meanBytes - this.#roundBytes;
    const most = (level * limits.mostOwedShare) / limits.owedPerRound;
    this.#owedBytes = Math.max(-most, Math.min(most, owed));
  }

  /** Nothing is known of it any more. */
  forget(): void {
    this.recentBytes = 0;
    this.#peakBytes = 0;
    this.#roundBytes = 0;
    this.#owedBytes = 0;
    this.setHoldReason('writer');
  }
}

/**
 * The level up to which each of those who share `capacityBytes` may fill, so that no one has more while another one
 * wants more: whoever wants less than an equal part leaves the rest to the others.
 */
export function fairLevel(capacityBytes: number, wantedBytes: readonly number[]): number {
  const ascending = [...wantedBytes].sort((a, b) => a - b);
  let leftBytes = capacityBytes;
  for (const [i, bytes] of ascending.entries()) {
    const share = leftBytes / (ascending.length - i);
    if (bytes > share) return share;
    leftBytes -= bytes;
  }
  return Number.POSITIVE_INFINITY;
}

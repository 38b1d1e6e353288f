import { limits } from '../../base/limits.js';
import { Waiters } from './admission-gate.js';

/** A stream that waits in a line, and accounts for its waiting time by reason. */
export interface HeldStream {
  /** The line now holds its streams for another reason. */
  holdReasonChanged(): void;
}

/** The streams of one topic at the publish gate, and the topic's use of the writer's queue. */
export class TopicLine {
  /** Streams that wait, first come, first served. */
  readonly waiting = new Waiters();
  /** The waiting streams that account for the reason. */
  readonly held = new Set<HeldStream>();
  /** Submitted and not committed. */
  queuedBytes = 0;
  /** Reserved for admitted streams that have not sent their request yet. */
  reservedBytes = 0;
  /**
   * The most that the topic had in the queue during the last round. Earlier rounds count half as much with each
   * round.
   */
  recentBytes = 0;
  #peakBytes = 0;
  /** What the last round committed of the topic. */
  #roundBytes = 0;
  /** How much less the topic had than the others that took all they could get. */
  #owedBytes = 0;
  /** Size of its last request; 0 before the first. */
  requestBytes = 0;
  #holdReason: 'writer' | 'share' = 'writer';

  /** `share` from the moment that the line was held although there was room, for as long as topics compete. */
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
   * How much of the queue the topic is expected to use. A topic with a stream at the gate, or one that was just
   * admitted, takes all that it can get. Other topics are expected to use at most twice what they used recently:
   * they can grow to their share within a few rounds, and topics that send little reserve little.
   */
  get wantedBytes(): number {
    if (this.isPressing) return Number.POSITIVE_INFINITY;
    return 2 * Math.max(this.recentBytes, this.queuedBytes) + this.requestBytes;
  }

  /** Its next request would bring it closer to the level than it is now, or it has nothing in the queue. */
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

  /** Called after all commits of a round. */
  roundCommitted(): void {
    this.recentBytes = Math.max(this.#peakBytes, Math.floor(this.recentBytes / 2));
    this.#peakBytes = this.queuedBytes;
    this.#roundBytes = 0;
  }

  get roundBytes(): number {
    return this.#roundBytes;
  }

  /**
   * The lines that take all they can get had `meanBytes` each in the last round, and may have `level` in the
   * queue.
   */
  owe(meanBytes: number, level: number): void {
    if (!this.isPressing || level === Number.POSITIVE_INFINITY) {
      this.#owedBytes = 0;
      return;
    }
    const owed = this.#owedBytes + meanBytes - this.#roundBytes;
    const most = (level * limits.mostOwedShare) / limits.owedPerRound;
    this.#owedBytes = Math.max(-most, Math.min(most, owed));
  }

  /** Forgets the history of the line. */
  forget(): void {
    this.recentBytes = 0;
    this.#peakBytes = 0;
    this.#roundBytes = 0;
    this.#owedBytes = 0;
    this.setHoldReason('writer');
  }
}

/**
 * The max-min fair level: each topic that shares `capacityBytes` may fill the queue to this level. A topic that
 * wants less than an equal part leaves the rest to the others.
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

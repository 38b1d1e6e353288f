import type { Clock, Timer } from '../../base/clock.js';
import { limits } from '../../base/limits.js';
import { fairLevel, TopicLine } from './topic-line.js';

/** The queue of the writer, which all topics share. */
export interface WriterQueue {
  /** How many more bytes it takes; negative if it is over its limit. */
  readonly roomBytes: number;
}

export interface PublishGateServices {
  readonly clock: Clock;
  readonly queue: WriterQueue;
}

/**
 * Admits producers to the writer's queue. While the queue is full no stream is read, and HTTP/2 flow control holds the
 * producers. An admitted stream reserves room for a request of the size of its last one, until the request arrives or
 * the reservation expires.
 *
 *     streams of topic A   o o o o o o o ->|               |
 *     streams of topic B             o ->  | in turn, each | -> writer's queue (FIFO) -> disk
 *     newcomers                    o o ->  | up to a level |    A A B A B B A
 *                                          |               |
 *
 * Topics wait in a line, and each topic has a line of streams. The queue is first in, first out: a topic's part of the
 * disk is its part of the queue, and the gate shares the queue. While topics compete, each may fill the queue up to the
 * same level; a topic that uses less leaves the rest to the others (max-min fairness, by bytes). The use of a topic, now
 * and in the last rounds, predicts how much it will use: room is kept for a topic with one stream while the next request
 * of that stream is on its way, and an idle topic gives its part back as its bytes commit. A single topic has no level,
 * and may use the whole queue.
 *
 * The line of a stream must be known before its request is read. It is the line of the topic of its last batch; bytes
 * count for their own topic. A new stream waits in the line of the topic that its connection used last, so that calls
 * with one request are treated like streams. The first stream of a connection is a newcomer: newcomers share one line,
 * which counts as one topic until their first requests have committed.
 */
export class PublishGate {
  /** For streams whose topic is not known yet. */
  readonly newcomers = new TopicLine();
  readonly #services: PublishGateServices;
  /** Lines that use the queue, used it recently, or have waiting streams. */
  readonly #active = new Set<TopicLine>();
  /** Lines with waiting streams; the next one to be served comes first. */
  readonly #waiting = new Set<TopicLine>();
  /** The line of the topic that a connection used last. The most recently used connection comes last. */
  readonly #lineByPeer = new Map<string, TopicLine>();
  #level = Number.POSITIVE_INFINITY;
  #queuedBytes = 0;
  #reservedBytes = 0;
  /** Bytes of admitted requests that arrived since the level was computed. */
  #arrivedBytes = 0;
  #willAdmit = false;
  #hasCommitted = false;
  /** Counts the lapses of reservations. A reservation from before the last lapse is void. */
  #lapseCount = 0;
  #lapse: Timer | undefined;

  constructor(services: PublishGateServices) {
    this.#services = services;
  }

  /** The line of a connection's new stream. */
  lineOf(peer: string): TopicLine {
    return this.#lineByPeer.get(peer) ?? this.newcomers;
  }

  /** A stream of this connection has begun to publish to the topic of this line. */
  remember(peer: string, line: TopicLine): void {
    this.#lineByPeer.delete(peer);
    this.#lineByPeer.set(peer, line);
    if (this.#lineByPeer.size <= limits.rememberedPeers) return;
    for (const oldest of this.#lineByPeer.keys()) {
      this.#lineByPeer.delete(oldest);
      break;
    }
  }

  isClosedFor(line: TopicLine): boolean {
    if (this.#isFull) return true;
    if (this.#waiting.size === 0) return false;
    return line.waiting.count > 0 || !line.isBelow(this.#level);
  }

  /**
   * Calls `enter` when there is room. The gate reserves `requestBytes`, or the size of the topic's last request if it is
   * absent, and passes a function that releases the reservation. Returns a function that cancels the wait.
   */
  wait(line: TopicLine, enter: (releaseRoom: () => void) => void, requestBytes?: number): () => void {
    const giveUp = line.waiting.add(() => {
      const bytes = requestBytes ?? (line.requestBytes || limits.usualRequestBytes);
      enter(this.#reserve(line, bytes));
    });
    this.#active.add(line);
    this.#waiting.add(line);
    return () => {
      giveUp();
      if (line.waiting.count > 0) return;
      this.#waiting.delete(line);
      this.#forgetIdle();
    };
  }

  submitted(line: TopicLine, bytes: number): void {
    if (line.queuedBytes === 0) this.#active.add(line);
    line.submitted(bytes);
    this.#queuedBytes += bytes;
  }

  committed(line: TopicLine, bytes: number): void {
    line.committed(bytes);
    this.#queuedBytes -= bytes;
    if (this.#waiting.size > 0) {
      this.#hasCommitted = true;
      this.#admitSoon();
    } else if (line.isIdle) this.#forget(line);
  }

  /** Admits streams while there is room. Called when there may be room. */
  admit(): void {
    if (this.#waiting.size === 0 || this.#isFull) return;
    this.#setLevel();
    for (const line of this.#waiting) {
      if (!line.isBelow(this.#level)) {
        line.setHoldReason('share');
        continue;
      }
      // The line's next stream comes after the other lines: this loop reaches a line that was added again.
      this.#waiting.delete(line);
      const enter = line.waiting.takeFirst();
      if (line.waiting.count > 0) this.#waiting.add(line);
      enter?.();
      if (this.#isFull) return;
    }
    this.#forgetIdle();
  }

  get #isFull(): boolean {
    return this.#services.queue.roomBytes < this.#reservedBytes;
  }

  #setLevel(): void {
    this.#arrivedBytes = 0;
    if (this.#active.size === 1) {
      this.#level = Number.POSITIVE_INFINITY;
      for (const line of this.#active) line.setHoldReason('writer');
      return;
    }
    const wanted = Array.from(this.#active, (line) => line.wantedBytes);
    this.#level = fairLevel(this.#capacityBytes, wanted);
  }

  /** The part of the queue that topics can use; settlements and dead letters use the rest. */
  get #capacityBytes(): number {
    return Math.max(0, this.#services.queue.roomBytes) + this.#queuedBytes;
  }

  /** Admits once for all commits of a round, after the last of them. */
  #admitSoon(): void {
    if (this.#willAdmit) return;
    this.#willAdmit = true;
    queueMicrotask(() => {
      this.#willAdmit = false;
      if (this.#hasCommitted) this.#roundCommitted();
      this.#hasCommitted = false;
      this.admit();
    });
  }

  #roundCommitted(): void {
    let pressingCount = 0;
    let pressingBytes = 0;
    for (const line of this.#active) {
      if (!line.isPressing) continue;
      pressingCount++;
      pressingBytes += line.roundBytes;
    }
    for (const line of this.#active) {
      line.owe(pressingBytes / pressingCount, this.#level);
      line.roundCommitted();
    }
  }

  #reserve(line: TopicLine, bytes: number): () => void {
    this.#reservedBytes += bytes;
    line.reservedBytes += bytes;
    this.#lapse ??= this.#services.clock.after(limits.admissionMs, () => this.#lapsed());
    const lapseCount = this.#lapseCount;
    let isHeld = true;
    return () => {
      if (isHeld && lapseCount === this.#lapseCount) {
        this.#reservedBytes -= bytes;
        line.reservedBytes -= bytes;
        this.#requestArrived(bytes);
      }
      isHeld = false;
    };
  }

  /** A topic that no longer waits may leave room to others. The level is computed again when that can matter. */
  #requestArrived(bytes: number): void {
    this.#arrivedBytes += bytes;
    const isWorthIt = this.#arrivedBytes * limits.levelsPerQueue >= this.#capacityBytes;
    if (isWorthIt && this.#waiting.size > 0) this.#admitSoon();
  }

  /** Streams that have not sent a request by now are idle, and must not keep the others waiting. */
  #lapsed(): void {
    this.#lapse = undefined;
    this.#lapseCount++;
    this.#reservedBytes = 0;
    for (const line of this.#active) line.reservedBytes = 0;
    this.#forgetIdle();
    this.admit();
  }

  /** While no topic waits, past use does not matter. */
  #forgetIdle(): void {
    const isContended = this.#waiting.size > 0;
    for (const line of this.#active) {
      if (line.isIdle && !(isContended && line.recentBytes > 0)) this.#forget(line);
    }
  }

  #forget(line: TopicLine): void {
    this.#active.delete(line);
    line.forget();
  }
}

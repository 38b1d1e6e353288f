import type { Clock } from '../../base/clock.js';
import type { TimeByReason } from '../counters.js';
import type { FramesUnderWay } from '../frames/frame-pool.js';
import type { ConsumeOptions, ConsumerSink, WaitReason } from '../types.js';
import type { CumulativeAcks } from './cumulative-acks.js';

export interface LinkServices {
  readonly frames: FramesUnderWay;
  readonly waited: TimeByReason<WaitReason>;
  readonly clock: Pick<Clock, 'monotonicMs'>;
}

/**
 * The broker's side of one consumer's stream: its identity, its sink, and the frames and reads under way for it.
 */
export class ConsumerLink {
  readonly sessionId: string;
  readonly options: ConsumeOptions;
  readonly sink: ConsumerSink;
  readonly connectTimeMs: number;
  readonly cumulativeAcks: CumulativeAcks;
  readonly #services: LinkServices;
  /** Log reads whose messages will become frames. */
  readsUnderWay = 0;
  #isOpen = true;
  /** Why the subscription state last had no messages for the session, or that the transport had no room. */
  #wait: { readonly reason: WaitReason; readonly sinceMs: number } | undefined;

  constructor(
    sessionId: string,
    options: ConsumeOptions,
    sink: ConsumerSink,
    services: LinkServices,
    connectTimeMs: number,
    cumulativeAcks: CumulativeAcks,
  ) {
    this.sessionId = sessionId;
    this.options = options;
    this.sink = sink;
    this.#services = services;
    this.connectTimeMs = connectTimeMs;
    this.cumulativeAcks = cumulativeAcks;
  }

  /** False once the session or its subscription has ended. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** A consumer that does not read blocks at most this many frames. */
  get canSend(): boolean {
    const { count, mostCount } = this.#services.frames;
    return count + this.readsUnderWay < mostCount;
  }

  get isHeldByTransport(): boolean {
    return this.#services.frames.isFull;
  }

  /** How many bytes the next frame may hold. */
  get nextFrameBytes(): number {
    return this.#services.frames.nextFrameBytes;
  }

  /** Why the consumer gets no messages, and for how long. */
  get wait(): { readonly reason: WaitReason; readonly forMs: number } | undefined {
    const wait = this.#wait;
    return wait && { reason: wait.reason, forMs: this.#services.clock.monotonicMs() - wait.sinceMs };
  }

  waitFor(reason: WaitReason): void {
    if (this.#wait?.reason === reason) return;
    this.#endWait();
    this.#wait = { reason, sinceMs: this.#services.clock.monotonicMs() };
  }

  frameSent(bytes: number): void {
    this.#services.frames.sent(bytes);
    this.#endWait();
    if (this.isHeldByTransport) this.waitFor('transport');
  }

  frameLeft(): void {
    this.#services.frames.left();
    if (this.#wait?.reason === 'transport') this.#endWait();
  }

  /** The session has ended: its frames and reads no longer count. May be called twice. */
  close(): void {
    this.#isOpen = false;
    this.#services.frames.close();
    this.#endWait();
  }

  #endWait(): void {
    const { wait } = this;
    if (wait !== undefined) this.#services.waited.add(wait.reason, wait.forMs);
    this.#wait = undefined;
  }
}

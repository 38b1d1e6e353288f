import { limits } from '../base/limits.js';
import type { TimeByReason } from './counters.js';
import type { CumulativeAcks } from './cumulative-acks.js';
import type { FramesUnderWay } from './frame-pool.js';
import type { ConsumeOptions, ConsumerSink, WaitReason } from './types.js';

export interface LinkServices {
  readonly frames: FramesUnderWay;
  readonly waited: TimeByReason<WaitReason>;
  readonly nowMs: () => number;
}

/** The way to one consumer: who it is, and how much is on the way to it. */
export class ConsumerLink {
  readonly sessionId: string;
  readonly options: ConsumeOptions;
  readonly sink: ConsumerSink;
  readonly connectTimeMs: number;
  readonly cumulativeAcks: CumulativeAcks;
  readonly #services: LinkServices;
  /** Log reads that will become frames. */
  readsUnderWay = 0;
  /** Why the subscription state last had nothing for it, or the transport had no room. */
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

  /** A consumer that does not read holds up no more than this many frames. */
  get canSend(): boolean {
    return this.#services.frames.count + this.readsUnderWay < limits.framesUnderWay;
  }

  get isHeldByTransport(): boolean {
    return this.#services.frames.isFull;
  }

  /** What its next frame may hold. */
  get nextFrameBytes(): number {
    return this.#services.frames.nextFrameBytes;
  }

  /** Why it gets nothing, and for how long. */
  get wait(): { readonly reason: WaitReason; readonly forMs: number } | undefined {
    const wait = this.#wait;
    return wait && { reason: wait.reason, forMs: this.#services.nowMs() - wait.sinceMs };
  }

  waitFor(reason: WaitReason): void {
    if (this.#wait?.reason === reason) return;
    this.#endWait();
    this.#wait = { reason, sinceMs: this.#services.nowMs() };
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

  /** The session is over: nothing leaves any more, so none of it counts. */
  close(): void {
    this.#services.frames.close();
    this.#endWait();
  }

  #endWait(): void {
    const { wait } = this;
    if (wait !== undefined) this.#services.waited.add(wait.reason, wait.forMs);
    this.#wait = undefined;
  }
}

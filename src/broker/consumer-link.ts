import { limits } from '../base/limits.js';
import type { FramesUnderWay } from './frame-pool.js';
import type { ConsumeOptions, ConsumerSink, WaitReason } from './types.js';

/** The way to one consumer: who it is, and how much is on the way to it. */
export class ConsumerLink {
  readonly sessionId: string;
  readonly options: ConsumeOptions;
  readonly sink: ConsumerSink;
  readonly connectTimeMs: number;
  readonly #frames: FramesUnderWay;
  /** Log reads that will become frames. */
  readsUnderWay = 0;
  /** Reads that are done and have to wait until a frame has left. */
  readonly #waiting: (() => void)[] = [];
  #isClosed = false;
  /** Why the rules last had nothing for it, or the transport had no room. */
  #wait: { readonly reason: WaitReason; readonly sinceMs: number } | undefined;

  constructor(
    sessionId: string,
    options: ConsumeOptions,
    sink: ConsumerSink,
    frames: FramesUnderWay,
    connectTimeMs: number,
  ) {
    this.sessionId = sessionId;
    this.options = options;
    this.sink = sink;
    this.#frames = frames;
    this.connectTimeMs = connectTimeMs;
  }

  /** A consumer that does not read holds up no more than this many frames. */
  get canSend(): boolean {
    return this.#frames.count + this.readsUnderWay < limits.framesUnderWay;
  }

  get isHeldByTransport(): boolean {
    return this.#frames.isFull;
  }

  /** What its next frame may hold. */
  get nextFrameBytes(): number {
    return this.#frames.nextFrameBytes;
  }

  /** Why it gets nothing, and since when. */
  get wait(): { readonly reason: WaitReason; readonly sinceMs: number } | undefined {
    return this.#wait;
  }

  waitFor(reason: WaitReason, nowMs: number): void {
    if (this.#wait?.reason !== reason) this.#wait = { reason, sinceMs: nowMs };
  }

  frameSent(bytes: number, nowMs: number): void {
    this.#frames.sent(bytes);
    this.#wait = undefined;
    if (this.isHeldByTransport) this.waitFor('transport', nowMs);
  }

  frameLeft(): void {
    this.#frames.left();
    if (this.#wait?.reason === 'transport') this.#wait = undefined;
    this.#waiting.shift()?.();
  }

  /** Resolves when another frame may be sent, or nobody is there any more to send it to. */
  async frameRoom(): Promise<void> {
    while (this.isHeldByTransport && !this.#isClosed) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /** The session is over: nothing leaves any more, so nobody must wait for it. */
  close(): void {
    this.#isClosed = true;
    this.#frames.close();
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

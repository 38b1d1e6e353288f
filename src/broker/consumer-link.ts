import { limits } from '../base/limits.js';
import type { ConsumeOptions, ConsumerSink, WaitReason } from './types.js';

/** The way to one consumer: who it is, and how much is on the way to it. */
export class ConsumerLink {
  readonly sessionId: string;
  readonly options: ConsumeOptions;
  readonly sink: ConsumerSink;
  readonly connectTimeMs: number;
  /** Frames that have not left for the transport: HTTP/2 flow control decides when they do. */
  #framesUnderWay = 0;
  /** Log reads that will become frames. */
  readsUnderWay = 0;
  /** Reads that are done and have to wait until a frame has left. */
  readonly #waiting: (() => void)[] = [];
  #isClosed = false;
  /** Why the rules last had nothing for it, or the transport had no room. */
  #wait: { readonly reason: WaitReason; readonly sinceMs: number } | undefined;

  constructor(sessionId: string, options: ConsumeOptions, sink: ConsumerSink, connectTimeMs: number) {
    this.sessionId = sessionId;
    this.options = options;
    this.sink = sink;
    this.connectTimeMs = connectTimeMs;
  }

  /** A consumer that does not read holds up no more than this many frames. */
  get canSend(): boolean {
    return this.#framesUnderWay + this.readsUnderWay < limits.framesUnderWay;
  }

  get isHeldByTransport(): boolean {
    return this.#framesUnderWay >= limits.framesUnderWay;
  }

  /** Why it gets nothing, and since when. */
  get wait(): { readonly reason: WaitReason; readonly sinceMs: number } | undefined {
    return this.#wait;
  }

  waitFor(reason: WaitReason, nowMs: number): void {
    if (this.#wait?.reason !== reason) this.#wait = { reason, sinceMs: nowMs };
  }

  frameSent(nowMs: number): void {
    this.#framesUnderWay++;
    this.#wait = undefined;
    if (this.isHeldByTransport) this.waitFor('transport', nowMs);
  }

  frameLeft(): void {
    this.#framesUnderWay--;
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
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

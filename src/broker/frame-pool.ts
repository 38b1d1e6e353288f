import { fairShare } from '../base/fair-share.js';
import { limits } from '../base/limits.js';

/**
 * Memory for frames that have not left for the transport. The more streams there are with frames under way, the
 * smaller each new frame is: so consumers that do not read cost a bounded sum, and still none of them takes anything
 * from the others but the size of their frames.
 */
export class FramePool {
  readonly #totalBytes: number;
  #holderCount = 0;
  #bytesUnderWay = 0;

  constructor(totalBytes: number) {
    this.#totalBytes = totalBytes;
  }

  get bytesUnderWay(): number {
    return this.#bytesUnderWay;
  }

  /** What the next frame of anybody may hold; a single larger message still makes one. */
  get frameBytes(): number {
    // Two of them for each stream, each up to twice as large where that keeps a record whole.
    const bounds = {
      totalBytes: this.#totalBytes / (2 * limits.framesUnderWay),
      smallestBytes: limits.smallestFrameBytes,
      largestBytes: limits.frameBytes,
    };
    return fairShare(bounds, this.#holderCount);
  }

  open(): FramesUnderWay {
    return new FramesUnderWay(this);
  }

  /** Only for FramesUnderWay. */
  changed(holders: number, bytes: number): void {
    this.#holderCount += holders;
    this.#bytesUnderWay += bytes;
  }
}

/** The frames of one stream that have not left for the transport: HTTP/2 flow control decides when they do. */
export class FramesUnderWay {
  readonly #pool: FramePool;
  /** Bytes of each, in the order in which they leave. */
  readonly #frames: number[] = [];
  #isClosed = false;

  constructor(pool: FramePool) {
    this.#pool = pool;
  }

  get count(): number {
    return this.#frames.length;
  }

  get isFull(): boolean {
    return this.#frames.length >= limits.framesUnderWay;
  }

  get nextFrameBytes(): number {
    return this.#pool.frameBytes;
  }

  sent(bytes: number): void {
    if (this.#isClosed) return;
    this.#frames.push(bytes);
    this.#pool.changed(this.#frames.length === 1 ? 1 : 0, bytes);
  }

  left(): void {
    const bytes = this.#frames.shift();
    if (bytes !== undefined) this.#pool.changed(this.#frames.length === 0 ? -1 : 0, -bytes);
  }

  /** The stream is over, and what was under way with it. Harmless twice. */
  close(): void {
    this.#isClosed = true;
    while (this.#frames.length > 0) this.left();
  }
}

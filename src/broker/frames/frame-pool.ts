import { limits } from '../../base/limits.js';

/**
 * Memory for frames that have not left for the transport, over all streams. Each stream begins with small frames,
 * which grow as they leave. So any number of consumers that never read costs little, and takes nothing from the
 * others. When half of the memory is in use, no frames grow. When all of it is in use, each stream has one small
 * frame at a time until some have left.
 */
export class FramePool {
  readonly #totalBytes: number;
  #bytesUnderWay = 0;

  constructor(totalBytes: number) {
    this.#totalBytes = totalBytes;
  }

  get bytesUnderWay(): number {
    return this.#bytesUnderWay;
  }

  get mayGrow(): boolean {
    return this.#bytesUnderWay < this.#totalBytes / 2;
  }

  get isUsedUp(): boolean {
    return this.#bytesUnderWay >= this.#totalBytes;
  }

  open(): FramesUnderWay {
    return new FramesUnderWay(this);
  }

  /** Only for FramesUnderWay. */
  changed(bytes: number): void {
    this.#bytesUnderWay += bytes;
  }
}

/** The frames of one stream that have not left for the transport: HTTP/2 flow control decides when they do. */
export class FramesUnderWay {
  readonly #pool: FramePool;
  /** Bytes of each frame, in the order in which they leave. */
  readonly #frames: number[] = [];
  #frameBytes: number = limits.smallestFrameBytes;
  #isClosed = false;

  constructor(pool: FramePool) {
    this.#pool = pool;
  }

  get count(): number {
    return this.#frames.length;
  }

  /** How many frames may be under way. One always may: so a stream that is full waits only for its own client. */
  get mostCount(): number {
    return this.#pool.isUsedUp ? 1 : limits.framesUnderWay;
  }

  get isFull(): boolean {
    return this.#frames.length >= this.mostCount;
  }

  /** About how many bytes the next frame may hold. A single larger message is still sent. */
  get nextFrameBytes(): number {
    return this.#pool.isUsedUp ? limits.leastFrameBytes : this.#frameBytes;
  }

  sent(bytes: number): void {
    if (this.#isClosed) return;
    this.#frames.push(bytes);
    this.#pool.changed(bytes);
  }

  left(): void {
    const bytes = this.#frames.shift();
    if (bytes === undefined) return;
    this.#pool.changed(-bytes);
    if (this.#pool.mayGrow) this.#frameBytes = Math.min(limits.frameBytes, 2 * this.#frameBytes);
  }

  /** The stream has ended, and its frames with it. May be called twice. */
  close(): void {
    this.#isClosed = true;
    for (const bytes of this.#frames.splice(0)) this.#pool.changed(-bytes);
  }
}

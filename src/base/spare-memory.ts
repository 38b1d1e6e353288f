import { KiB } from './units.js';

/** Smaller blocks are left to the garbage collector: keeping them saves nothing. */
export const smallestSpareBlockBytes = 64 * KiB;

/**
 * Recycles memory, in blocks. V8 starts to mark the whole heap after each 64 MiB of buffers that have survived two
 * scavenges, and scavenges after 16 MiB of any buffers. At full speed, new buffers for every message cause that
 * many times a second, and each time costs more with the number of streams.
 */
export class SpareMemory {
  /** Of equal blocks, the one that was returned last is used first: it may still be in the processor's cache. */
  readonly #spare: ArrayBuffer[] = [];
  readonly #maxSpareBytes: number;
  #spareBytes = 0;

  /** `maxSpareBytes`: no more than this is kept. */
  constructor(maxSpareBytes: number) {
    this.#maxSpareBytes = maxSpareBytes;
  }

  get spareBytes(): number {
    return this.#spareBytes;
  }

  /** A block of at least this size. Its contents are undefined. */
  take(byteLength: number): ArrayBuffer {
    if (byteLength < smallestSpareBlockBytes) return allocate(byteLength);
    const index = this.#bestFor(byteLength);
    if (index < 0) return allocate(blockBytes(byteLength));
    const [block] = this.#spare.splice(index, 1);
    this.#spareBytes -= block!.byteLength;
    return block!;
  }

  /**
   * The shortest block that is long enough, and at most half as long again: memory is bounded by blocks, not by
   * their use.
   */
  #bestFor(byteLength: number): number {
    let best = -1;
    let bestBytes = byteLength * 1.5;
    for (let i = this.#spare.length - 1; i >= 0; i--) {
      const bytes = this.#spare[i]!.byteLength;
      if (bytes < byteLength || bytes >= bestBytes) continue;
      best = i;
      bestBytes = bytes;
    }
    return best;
  }

  /** Returns a block. Only its owner may do that, and only once. */
  giveBack(block: ArrayBuffer): void {
    if (block.byteLength < smallestSpareBlockBytes || block.byteLength > this.#maxSpareBytes) return;
    this.#spare.push(block);
    this.#spareBytes += block.byteLength;
    while (this.#spareBytes > this.#maxSpareBytes) this.#spareBytes -= this.#spare.shift()!.byteLength;
  }
}

/** The next multiple of an eighth of the power of two below, so that the block fits more requests. */
function blockBytes(byteLength: number): number {
  const step = 2 ** Math.floor(Math.log2(byteLength)) / 8;
  return Math.ceil(byteLength / step) * step;
}

/** Not from Node's pool, whose blocks are shared. Not zeroed, because all of it is written. */
function allocate(byteLength: number): ArrayBuffer {
  return Buffer.allocUnsafeSlow(byteLength).buffer as ArrayBuffer;
}

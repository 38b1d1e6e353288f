import { KiB } from './units.js';

/** Smaller blocks are left to the garbage collector: there is no saving in keeping them. */
export const smallestSpareBlockBytes = 64 * KiB;

/**
 * Memory that is used again and again, in blocks. V8 starts to mark the whole heap after each 64 MiB of buffers that
 * have outlived two scavenges, and scavenges after 16 MiB of any: at full speed, buffers that are made for every
 * message have it do so many times a second, and each time costs the more, the more streams there are.
 */
export class SpareMemory {
  /** Of the same length, the one given back last is used first: it may still be in the processor's cache. */
  readonly #spare: ArrayBuffer[] = [];
  readonly #maxSpareBytes: number;
  #spareBytes = 0;

  /** Of what is given back, no more is kept than this. */
  constructor(maxSpareBytes: number) {
    this.#maxSpareBytes = maxSpareBytes;
  }

  get spareBytes(): number {
    return this.#spareBytes;
  }

  /** A block with room for so many bytes, which may be longer. What stands in it is of no meaning. */
  take(byteLength: number): ArrayBuffer {
    if (byteLength < smallestSpareBlockBytes) return allocate(byteLength);
    const index = this.#bestFor(byteLength);
    if (index < 0) return allocate(blockBytes(byteLength));
    const [block] = this.#spare.splice(index, 1);
    this.#spareBytes -= block!.byteLength;
    return block!;
  }

  /** The shortest that is long enough, and not by half too long: memory is bounded by blocks, not by their use. */
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

  /** Only by whoever took it, and only once. */
  giveBack(block: ArrayBuffer): void {
    if (block.byteLength < smallestSpareBlockBytes || block.byteLength > this.#maxSpareBytes) return;
    this.#spare.push(block);
    this.#spareBytes += block.byteLength;
    while (this.#spareBytes > this.#maxSpareBytes) this.#spareBytes -= this.#spare.shift()!.byteLength;
  }
}

/** A little longer, so that it fits more: the next multiple of an eighth of the power of two below. */
function blockBytes(byteLength: number): number {
  const step = 2 ** Math.floor(Math.log2(byteLength)) / 8;
  return Math.ceil(byteLength / step) * step;
}

/** Not from Node's pool, whose blocks are shared; and not zeroed, as all of it is written. */
function allocate(byteLength: number): ArrayBuffer {
  return Buffer.allocUnsafeSlow(byteLength).buffer as ArrayBuffer;
}

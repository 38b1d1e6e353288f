import { limits } from '../base/limits.js';
import { KiB } from '../base/units.js';

/** Smaller rounds are left to the garbage collector: there is no saving in keeping them. */
const minBlockBytes = 64 * KiB;
/** What waits to be used again: as much as may be with the writer thread. */
const maxSpareBytes = limits.roundsUnderWay * limits.roundBytes;

/**
 * The memory of rounds, used again once the tail drops it. V8 starts to mark the whole heap after each 64 MiB of
 * buffers that have outlived two scavenges; the rounds in the tail alone were enough for several times a second.
 *
 * Whoever still looks at a block that was given back sees what was there, until the block is used again: then it is
 * handed to the writer thread in the same turn, which detaches every view of it. Nobody ever sees the wrong bytes.
 */
export class RoundMemory {
  /** Given back first, used first. */
  readonly #spare: ArrayBuffer[] = [];
  #spareBytes = 0;

  get spareBytes(): number {
    return this.#spareBytes;
  }

  /** A block with room for so many bytes, which may be longer. What stands in it is of no meaning. */
  take(byteLength: number): ArrayBuffer {
    if (byteLength < minBlockBytes) return allocate(byteLength);
    const index = this.#spare.findIndex((block) => fits(block, byteLength));
    if (index < 0) return allocate(blockBytes(byteLength));
    const [block] = this.#spare.splice(index, 1);
    this.#spareBytes -= block!.byteLength;
    return block!;
  }

  giveBack(block: ArrayBuffer): void {
    if (block.byteLength < minBlockBytes || block.byteLength > maxSpareBytes) return;
    this.#spare.push(block);
    this.#spareBytes += block.byteLength;
    while (this.#spareBytes > maxSpareBytes) this.#spareBytes -= this.#spare.shift()!.byteLength;
  }
}

/** Not by half too long: the tail is bounded by its blocks, not by what stands in them. */
function fits(block: ArrayBuffer, byteLength: number): boolean {
  return block.byteLength >= byteLength && block.byteLength <= byteLength * 1.5;
}

/** A little longer, so that it fits more rounds: the next multiple of an eighth of the power of two below. */
function blockBytes(byteLength: number): number {
  const step = 2 ** Math.floor(Math.log2(byteLength)) / 8;
  return Math.ceil(byteLength / step) * step;
}

/** Not from Node's pool, whose blocks are shared and can't be handed over; and not zeroed, as all of it is written. */
function allocate(byteLength: number): ArrayBuffer {
  return Buffer.allocUnsafeSlow(byteLength).buffer as ArrayBuffer;
}

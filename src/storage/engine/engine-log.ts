/**
 * The log format of RocksDB, for both its write-ahead log and its MANIFEST: blocks of 32 KiB that contain fragments of
 * records, little-endian:
 *
 *     checksum u32 (masked CRC-32C of type and data) · length u16 · type u8 · data
 *
 * A record is one FULL fragment, or FIRST, any number of MIDDLE, LAST. If a block has no room for another fragment, the
 * rest of it is zero. https://github.com/facebook/rocksdb/wiki/Write-Ahead-Log-File-Format
 */
const blockBytes = 32 * 1024;
const headerBytes = 7;

const fragment = { full: 1, first: 2, middle: 3, last: 4 } as const;

/** Whole records, in order. `isDamaged`: bytes that are not a record were skipped, or cut off the end. */
export interface LogRecords {
  readonly records: readonly Buffer[];
  readonly isDamaged: boolean;
  /** A fragment that is not the last one has a wrong checksum: RocksDB treats this as damage, not as the end. */
  readonly hasBadFragment: boolean;
}

/** Reads from a block boundary. A first record that began earlier is skipped. */
export function readLogRecords(bytes: Buffer, isBeginning: boolean): LogRecords {
  const scan = new FragmentScan(bytes, isBeginning);
  for (let blockAt = 0; blockAt < bytes.length; blockAt += blockBytes) {
    scan.readBlock(blockAt, Math.min(blockAt + blockBytes, bytes.length));
  }
  return scan.finish();
}

/** Joins fragments to records, and notes what is damaged. */
class FragmentScan {
  readonly #bytes: Buffer;
  readonly #records: Buffer[] = [];
  /** The fragments of a record whose last one was not read yet. */
  #parts: Buffer[] | undefined;
  #isDamaged = false;
  #hasBadFragment = false;
  /** False: the fragment before the next one was not read, so the next one may belong to a record that began there. */
  #isSynchronised: boolean;

  constructor(bytes: Buffer, isBeginning: boolean) {
    this.#bytes = bytes;
    this.#isSynchronised = isBeginning;
  }

  readBlock(blockAt: number, blockEnd: number): void {
    const bytes = this.#bytes;
    for (let at = blockAt; at + headerBytes <= blockEnd; ) {
      if (isUnwritten(bytes, at)) {
        // Preallocated and never written, or the rest of a block.
        if (bytes.subarray(at, blockEnd).some((byte) => byte !== 0)) this.#isDamaged = true;
        return;
      }
      const end = fragmentEnd(bytes, at);
      if (isFragment(bytes, at, blockEnd)) {
        this.#add(bytes[at + 6]!, bytes.subarray(at + headerBytes, end));
        at = end;
      } else {
        this.#skipBadFragment(end <= blockEnd || blockEnd < bytes.length);
        at = nextFragment(bytes, at + 1, blockEnd);
      }
    }
  }

  finish(): LogRecords {
    const isDamaged = this.#isDamaged || this.#parts !== undefined;
    return { records: this.#records, isDamaged, hasBadFragment: this.#hasBadFragment };
  }

  #skipBadFragment(isFollowed: boolean): void {
    this.#isDamaged = true;
    this.#hasBadFragment ||= isFollowed;
    this.#parts = undefined;
    this.#isSynchronised = false;
  }

  #add(type: number, data: Buffer): void {
    if (type === fragment.full || type === fragment.first) this.#begin(type, data);
    else if (type === fragment.middle || type === fragment.last) this.#continue(type, data);
    // Other types are hints that contain none of our data.
    this.#isSynchronised = true;
  }

  #begin(type: number, data: Buffer): void {
    if (this.#parts !== undefined) this.#isDamaged = true;
    if (type === fragment.full) this.#records.push(data);
    this.#parts = type === fragment.first ? [data] : undefined;
  }

  #continue(type: number, data: Buffer): void {
    if (this.#parts === undefined) {
      this.#isDamaged ||= this.#isSynchronised;
      return;
    }
    this.#parts.push(data);
    if (type !== fragment.last) return;
    this.#records.push(Buffer.concat(this.#parts));
    this.#parts = undefined;
  }
}

/**
 * The position of the first fragment of a type that RocksDB never writes here; undefined if there is none. RocksDB
 * takes some of those types for reused logs, and then never stops reading. Reads headers of whole blocks only.
 */
export function findUnknownFragment(bytes: Buffer): number | undefined {
  for (let blockAt = 0; blockAt < bytes.length; blockAt += blockBytes) {
    const blockEnd = Math.min(blockAt + blockBytes, bytes.length);
    for (let at = blockAt; at + headerBytes <= blockEnd; ) {
      if (bytes[at + 6]! > fragment.last) return at;
      if (isUnwritten(bytes, at)) break;
      at = fragmentEnd(bytes, at);
      // The length is wrong: RocksDB detects that damage itself.
      if (at > blockEnd) return undefined;
    }
  }
  return undefined;
}

/** Type 0 without data: RocksDB writes no such fragment. */
function isUnwritten(bytes: Buffer, at: number): boolean {
  return bytes[at + 6] === 0 && bytes.readUInt16LE(at + 4) === 0;
}

function fragmentEnd(bytes: Buffer, at: number): number {
  return at + headerBytes + bytes.readUInt16LE(at + 4);
}

function isFragment(bytes: Buffer, at: number, blockEnd: number): boolean {
  const end = fragmentEnd(bytes, at);
  return end <= blockEnd && unmask(bytes.readUInt32LE(at)) === crc32c(bytes, at + 6, end);
}

/** Damage hides where the next fragment begins: tries each byte to the end of the block. */
function nextFragment(bytes: Buffer, from: number, blockEnd: number): number {
  for (let at = from; at + headerBytes <= blockEnd; at++) {
    const type = bytes[at + 6]!;
    const isKnown = type >= fragment.full && type <= fragment.last && bytes.readUInt16LE(at + 4) > 0;
    if (isKnown && isFragment(bytes, at, blockEnd)) return at;
  }
  return blockEnd;
}

function unmask(masked: number): number {
  const rotated = (masked - 0xa282ead8) >>> 0;
  return ((rotated >>> 17) | (rotated << 15)) >>> 0;
}

const table = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1;
  return value;
});

/** CRC-32C (Castagnoli), which Node does not provide. */
export function crc32c(bytes: Uint8Array, from = 0, to = bytes.length): number {
  let crc = 0xffffffff;
  for (let at = from; at < to; at++) crc = table[(crc ^ bytes[at]!) & 0xff]! ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

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
  const records: Buffer[] = [];
  let parts: Buffer[] | undefined;
  let isDamaged = false;
  let hasBadFragment = false;
  let isSynchronised = isBeginning;
  for (let blockAt = 0; blockAt < bytes.length; blockAt += blockBytes) {
    const blockEnd = Math.min(blockAt + blockBytes, bytes.length);
    for (let at = blockAt; at + headerBytes <= blockEnd; ) {
      const length = bytes.readUInt16LE(at + 4);
      const type = bytes[at + 6]!;
      const end = at + headerBytes + length;
      if (type === 0 && length === 0) {
        // Preallocated and never written, or the rest of a block.
        if (bytes.subarray(at, blockEnd).some((byte) => byte !== 0)) isDamaged = true;
        break;
      }
      if (!isFragment(bytes, at, blockEnd)) {
        isDamaged = true;
        hasBadFragment ||= end <= blockEnd || blockEnd < bytes.length;
        parts = undefined;
        isSynchronised = false;
        at = nextFragment(bytes, at + 1, blockEnd);
        continue;
      }
      const data = bytes.subarray(at + headerBytes, end);
      at = end;
      if (type === fragment.full) {
        if (parts !== undefined) isDamaged = true;
        parts = undefined;
        records.push(data);
      } else if (type === fragment.first) {
        if (parts !== undefined) isDamaged = true;
        parts = [data];
      } else if (type === fragment.middle || type === fragment.last) {
        if (parts === undefined) isDamaged ||= isSynchronised;
        else parts.push(data);
        if (type === fragment.last && parts !== undefined) {
          records.push(Buffer.concat(parts));
          parts = undefined;
        }
      }
      // Other types are hints that contain none of our data.
      isSynchronised = true;
    }
  }
  return { records, isDamaged: isDamaged || parts !== undefined, hasBadFragment };
}

/**
 * The position of the first fragment of a type that RocksDB never writes here; undefined if there is none. RocksDB
 * takes some of those types for reused logs, and then never stops reading. Reads headers of whole blocks only.
 */
export function findUnknownFragment(bytes: Buffer): number | undefined {
  for (let blockAt = 0; blockAt < bytes.length; blockAt += blockBytes) {
    const blockEnd = Math.min(blockAt + blockBytes, bytes.length);
    for (let at = blockAt; at + headerBytes <= blockEnd; ) {
      const length = bytes.readUInt16LE(at + 4);
      const type = bytes[at + 6]!;
      if (type > fragment.last) return at;
      if (type === 0 && length === 0) break;
      at += headerBytes + length;
      // The length is wrong: RocksDB detects that damage itself.
      if (at > blockEnd) return undefined;
    }
  }
  return undefined;
}

function isFragment(bytes: Buffer, at: number, blockEnd: number): boolean {
  const end = at + headerBytes + bytes.readUInt16LE(at + 4);
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

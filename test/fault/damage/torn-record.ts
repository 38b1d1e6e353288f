/**
 * RocksDB's log: blocks of 32 KiB with fragments of records, each
 *
 *     checksum u32 (masked CRC-32C of type and bytes) · length u16 · type u8 · bytes
 *
 * all little-endian. A record that does not fit into the rest of a block becomes a first fragment, middle ones and
 * a last one.
 */
const blockBytes = 32 * 1024;
const headerBytes = 7;
const fragmentType = { full: 1, first: 2, middle: 3, last: 4 } as const;

/**
 * What a kill in the middle of a write leaves behind a log of `at` bytes: the beginning of a record of
 * `recordBytes`, cut at the given part of it. All of it but the end is as RocksDB writes it.
 */
export function tornRecord(at: number, recordBytes: number, part: number): Buffer {
  const fragments: Buffer[] = [];
  let end = at;
  let left = recordBytes;
  for (let isFirst = true; left > 0; isFirst = false) {
    const room = blockBytes - (end % blockBytes);
    if (room < headerBytes) {
      fragments.push(Buffer.alloc(room));
      end += room;
      continue;
    }
    const length = Math.min(left, room - headerBytes);
    left -= length;
    const type = isFirst
      ? left === 0
        ? fragmentType.full
        : fragmentType.first
      : left === 0
        ? fragmentType.last
        : fragmentType.middle;
    const fragment = fragmentOf(type, Buffer.alloc(length, left));
    fragments.push(fragment);
    end += fragment.length;
  }
  const whole = Buffer.concat(fragments);
  return whole.subarray(0, 1 + Math.floor(part * (whole.length - 1)));
}

function fragmentOf(type: number, bytes: Buffer): Buffer {
  const fragment = Buffer.alloc(headerBytes + bytes.length);
  fragment.writeUInt16LE(bytes.length, 4);
  fragment.writeUInt8(type, 6);
  bytes.copy(fragment, headerBytes);
  const crc = crc32c(fragment.subarray(6));
  fragment.writeUInt32LE((((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0, 0);
  return fragment;
}

function crc32c(bytes: Uint8Array): number {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return ~crc >>> 0;
}

import { crc32c } from '../../../../src/storage/engine/engine-log.js';

/** RocksDB's log format, written: see engine-log.ts. */
export const blockBytes = 32 * 1024;

export const full = 1;
export const first = 2;
export const middle = 3;
export const last = 4;

export function fragment(type: number, data: Uint8Array | string): Buffer {
  const content = Buffer.from(data);
  const bytes = Buffer.alloc(7 + content.length);
  bytes.writeUInt16LE(content.length, 4);
  bytes.writeUInt8(type, 6);
  content.copy(bytes, 7);
  const crc = crc32c(bytes, 6);
  bytes.writeUInt32LE((((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0, 0);
  return bytes;
}

/** A block of these fragments, filled with zeros. */
export function block(...fragments: Buffer[]): Buffer {
  return Buffer.concat([...fragments, Buffer.alloc(blockBytes)]).subarray(0, blockBytes);
}

/** A fragment with one bit changed in its data. */
export function flipped(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  copy[copy.length - 1]! ^= 1;
  return copy;
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  return Buffer.from([...bytes, rest]);
}

/** Numbers become numbers of variable length, texts and bytes follow their length. */
export function edit(...fields: (number | string | Buffer)[]): Buffer {
  const parts = fields.map((field) => {
    if (typeof field === 'number') return varint(field);
    const bytes = Buffer.from(field);
    return Buffer.concat([varint(bytes.length), bytes]);
  });
  return fragment(full, Buffer.concat(parts));
}

/** A batch of the write-ahead log: so many changes from this sequence number on. */
export function batch(sequence: number, count: number): Buffer {
  const bytes = Buffer.alloc(20);
  bytes.writeBigUInt64LE(BigInt(sequence), 0);
  bytes.writeUInt32LE(count, 8);
  return fragment(full, bytes);
}

import { crc32 } from 'node:zlib';
import { DamagedRecord } from './record.js';

/**
 * Every small record (catalog, counters, extents, cursors, notes of dead letters and redrives, producers) ends
 * with a CRC-32 of its key and its value. A changed record, or a record under a wrong key, is detected.
 */
export const sealBytes = 4;

function checksum(key: Uint8Array, value: Uint8Array): number {
  return crc32(value.subarray(0, value.length - sealBytes), crc32(key));
}

/** Writes the checksum of a value whose last four bytes are reserved for it. */
export function sealInPlace(key: Uint8Array, value: Buffer): void {
  value.writeUInt32BE(checksum(key, value), value.length - sealBytes);
}

/** A copy of the value with its checksum. */
export function seal(key: Uint8Array, value: Uint8Array): Buffer {
  const sealed = Buffer.alloc(value.length + sealBytes);
  sealed.set(value);
  sealInPlace(key, sealed);
  return sealed;
}

/** The value without its checksum. Throws DamagedRecord unless key and value are what was written. */
export function unseal(key: Uint8Array, sealed: Buffer): Buffer {
  if (sealed.length < sealBytes) throw new DamagedRecord('it is shorter than its checksum');
  if (sealed.readUInt32BE(sealed.length - sealBytes) !== checksum(key, sealed)) {
    throw new DamagedRecord('its checksum does not match');
  }
  return sealed.subarray(0, sealed.length - sealBytes);
}

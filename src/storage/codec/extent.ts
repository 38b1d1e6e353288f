import { readUint64, writeUint64 } from '../engine/bytes.js';

/** The metadata of a partition. */
export interface Extent {
  /** The first offset that is kept. */
  readonly firstOffset: number;
  readonly endOffset: number;
  /**
   * Positions count the bytes of all messages that a partition ever got. The kept messages are between these two.
   */
  readonly firstPosition: number;
  readonly endPosition: number;
  /** The publish time of the newest round that wrote to the partition. */
  readonly lastPublishTimeMs: number;
  /**
   * Offsets whose publish time is lower than the one before, because the wall clock was set back: the newest few,
   * in order. Between two of them publish times never go back.
   */
  readonly clockSteps: readonly number[];
}

export const emptyExtent: Extent = {
  firstOffset: 0,
  endOffset: 0,
  firstPosition: 0,
  endPosition: 0,
  lastPublishTimeMs: 0,
  clockSteps: [],
};

/**
 * One is written with every commit for each partition that it changes: plain numbers, and clock steps if there are
 * any.
 */
const extentBytes = 40;

export function encodeExtent(extent: Extent): Buffer {
  const bytes = Buffer.allocUnsafe(extentBytes + 8 * extent.clockSteps.length);
  let at = writeUint64(bytes, extent.firstOffset, 0);
  at = writeUint64(bytes, extent.endOffset, at);
  at = writeUint64(bytes, extent.firstPosition, at);
  at = writeUint64(bytes, extent.endPosition, at);
  at = writeUint64(bytes, extent.lastPublishTimeMs, at);
  for (const offset of extent.clockSteps) at = writeUint64(bytes, offset, at);
  return bytes;
}

export function decodeExtent(bytes: Buffer): Extent {
  const clockSteps: number[] = [];
  for (let at = extentBytes; at + 8 <= bytes.length; at += 8) clockSteps.push(readUint64(bytes, at));
  return {
    firstOffset: readUint64(bytes, 0),
    endOffset: readUint64(bytes, 8),
    firstPosition: readUint64(bytes, 16),
    endPosition: readUint64(bytes, 24),
    lastPublishTimeMs: readUint64(bytes, 32),
    clockSteps,
  };
}

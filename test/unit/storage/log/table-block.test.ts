import assert from 'node:assert/strict';
import { recordByteLength, sealRecord, writeRecord } from '../../../../src/storage/codec/record.js';
import { logKey } from '../../../../src/storage/engine/keys.js';
import { wholeRecordsOf } from '../../../../src/storage/log/table-block.js';

const topicId = 7;
const partition = 3;
const valueBytes = 100;

/** A record of one message. */
function record(offset: number): { key: Buffer; value: Buffer } {
  const message = Buffer.alloc(valueBytes, offset);
  const run = { producerId: '', targetSubscriptionId: 0, count: 1, byteLength: message.length };
  const outline = { partition, firstOffset: offset, count: 1, publishTimeMs: 1, position: 0, runs: [run] };
  const value = Buffer.alloc(recordByteLength(outline));
  writeRecord({ outline, chunks: [message] }, value, 0);
  const key = logKey(topicId, offset);
  sealRecord(key, value);
  return { key, value };
}

/** As RocksDB writes it: two entries share nothing with what is before, each begins an interval. */
function block(count: number, perInterval: number): { bytes: Buffer; starts: number[] } {
  const parts: Buffer[] = [];
  const starts: number[] = [];
  let at = 0;
  for (let offset = 0; offset < count; offset++) {
    const { key, value } = record(offset);
    const internalKey = Buffer.concat([key, Buffer.alloc(8, 1)]);
    const isFirst = offset % perInterval === 0;
    if (isFirst) starts.push(at);
    const shared = isFirst ? 0 : 11;
    const header = Buffer.of(shared, 20 - shared, 0x80 | (value.length & 0x7f), value.length >> 7);
    const entry = Buffer.concat([header, internalKey.subarray(shared), value]);
    parts.push(entry);
    at += entry.length;
  }
  const trailer = Buffer.alloc(4 * starts.length + 4);
  for (const [index, start] of starts.entries()) trailer.writeUInt32LE(start, 4 * index);
  trailer.writeUInt32LE(starts.length, 4 * starts.length);
  return { bytes: Buffer.concat([...parts, trailer]), starts };
}

function offsetsOf(bytes: Buffer, ofTopic = topicId): number[] {
  return wholeRecordsOf(bytes, ofTopic, partition).map(([key, value]) => {
    const expected = record(Number(key.readBigUInt64BE(4)));
    assert.deepEqual([key, value], [expected.key, expected.value]);
    return Number(key.readBigUInt64BE(4));
  });
}

describe('whole records of a table block', () => {
  const { bytes, starts } = block(8, 4);
  const change = (at: number, to: number): Buffer => {
    const changed = Buffer.from(bytes);
    changed[at] = to;
    return changed;
  };

  it('are all of them where only the checksum of the block is altered', () => {
    assert.deepEqual(offsetsOf(bytes), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert.deepEqual(offsetsOf(bytes, topicId + 1), []);
  });

  it('are all but the one that is altered, or whose lengths are', () => {
    assert.deepEqual(offsetsOf(change(60, 0xee)), [1, 2, 3, 4, 5, 6, 7]);
    assert.deepEqual(offsetsOf(change(starts[1]! + 60, 0xee)), [0, 1, 2, 3, 5, 6, 7]);
    // The rest of an interval is lost with its lengths, and no more.
    assert.deepEqual(offsetsOf(change(2, 0xff)), [4, 5, 6, 7]);
  });

  it('are all of them where a key is altered, for it follows from the record', () => {
    assert.deepEqual(offsetsOf(change(8, 0xee)), [0, 1, 2, 3, 4, 5, 6, 7]);
  });

  it('are found without the places of the intervals', () => {
    assert.deepEqual(offsetsOf(change(bytes.length - 1, 0xff)), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert.deepEqual(offsetsOf(change(bytes.length - 8, 0xff)), [0, 1, 2, 3, 4, 5, 6, 7]);
  });

  it('are those of every interval whose place is whole, in whichever order the places are', () => {
    const long = block(12, 4);
    // The lengths of the first entry are altered.
    long.bytes[2] = 0xff;
    assert.deepEqual(offsetsOf(long.bytes), [4, 5, 6, 7, 8, 9, 10, 11]);
    // The place of the second interval points behind the third one.
    long.bytes.writeUInt32LE(long.starts[2]! + 40, long.bytes.length - 4 - 4 * 2);
    assert.deepEqual(offsetsOf(long.bytes), [8, 9, 10, 11]);
  });

  it('are none in bytes that are no block, whichever they are', () => {
    for (const length of [0, 1, 7, 8, 100]) {
      for (const fill of [0, 1, 0x7f, 0x80, 0xff])
        assert.deepEqual(offsetsOf(Buffer.alloc(length, fill)), []);
    }
    for (let bit = 0; bit < 8 * bytes.length; bit++) {
      const flipped = Buffer.from(bytes);
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      const found = offsetsOf(flipped);
      assert(found.length >= 4, `bit ${bit}: ${found}`);
    }
  });
});

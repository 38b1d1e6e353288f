import assert from 'node:assert/strict';
import { seal } from '../../../../src/storage/codec/sealed-value.js';
import { lastOffsetOfLogKey } from '../../../../src/storage/engine/keys.js';
import { findRecord, nextReadable } from '../../../../src/storage/log/find-record.js';
import type { PartitionLog } from '../../../../src/storage/log/partition-log.js';
import { firstReadable, readAroundDamage, readFirst } from '../../../../src/storage/log/read-around.js';
import { wholeRecordsOf, wholeSealedValueOf } from '../../../../src/storage/log/table-block.js';
import { blockOf, logUpTo, MemoryEngine, partition, record, topicId } from './memory-engine.js';

/** A record of two messages that does not match its checksum. */
function brokenRecord(firstOffset: number): [Buffer, Buffer] {
  const [key, value] = record(firstOffset, 2);
  value[value.length - 1]! ^= 1;
  return [key, value];
}

/**
 * Eight records of two messages each. The records 2 to 9 are in a block that the engine refuses; those that begin at
 * 4 and 8 are whole.
 */
function damagedBlock(): { memory: MemoryEngine; log: PartitionLog } {
  const memory = new MemoryEngine();
  for (let offset = 0; offset < 16; offset += 2) memory.put(record(offset, 2));
  memory.block = blockOf(brokenRecord(2), record(4, 2), brokenRecord(6), record(8, 2));
  for (const lastOffset of [3, 5, 7, 9]) memory.damaged.add(lastOffset);
  return { memory, log: logUpTo(16) };
}

describe('single records of a damaged block', () => {
  it('are the next readable ones', async () => {
    const { memory, log } = damagedBlock();
    const next = async (offset: number, endOffset = log.endOffset) =>
      (await nextReadable(memory.engine, log, offset, endOffset))?.firstOffset;
    const found: (number | undefined)[] = [];
    for (let offset = 0; offset < 16; offset += 1) found.push(await next(offset));
    assert.deepEqual(found, [0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 10, 10, 12, 12, 14, 14]);
    assert.equal(await next(6, 8), undefined, 'the next one begins at the end');
    assert.equal(await next(6, 9), 8);
    assert.equal(await next(2, 4), undefined);
    assert.equal(await next(2, 5), 4);
  });

  it('are found by a search', async () => {
    const { memory, log } = damagedBlock();
    const search = async (offset: number) =>
      (await findRecord(memory.engine, log, ({ lastOffset }) => lastOffset >= offset))?.firstOffset;
    const found: (number | undefined)[] = [];
    for (let offset = 0; offset < 17; offset += 1) found.push(await search(offset));
    assert.deepEqual(found, [0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 10, 10, 12, 12, 14, 14, undefined]);
  });

  it('are skipped by a search whose block can not be read at all', async () => {
    const { memory, log } = damagedBlock();
    memory.block = undefined;
    const search = async (offset: number) =>
      (await findRecord(memory.engine, log, ({ lastOffset }) => lastOffset >= offset))?.firstOffset;
    for (let offset = 2; offset < 10; offset += 1) assert.equal(await search(offset), 10);
    memory.keysFail = true;
    for (let offset = 2; offset < 10; offset += 1) assert.equal(await search(offset), 10);
  });

  it('come after a record of another table that a read by key finds before them', async () => {
    const { memory, log } = damagedBlock();
    memory.damaged.delete(3);
    memory.scansFail = true;
    const first = async (offset: number) =>
      lastOffsetOfLogKey((await readFirst(memory.engine, log, offset))![0]);
    assert.equal(await first(2), 3);
    assert.equal(await first(4), 5);
    assert.equal(await first(10), 11, 'behind all of them');
  });

  it('end the damage before them, and begin what can be read', async () => {
    const { memory, log } = damagedBlock();
    const around = async (offset: number, maxCount = 100) => {
      const { before, damage } = await readAroundDamage(memory.engine, log, offset, log.endOffset, maxCount);
      return [
        before.map(([key]) => lastOffsetOfLogKey(key)),
        damage && [damage.firstOffset, damage.lastOffset],
      ];
    };
    assert.deepEqual(await around(0), [[1], [2, 3]]);
    assert.deepEqual(await around(4), [[5], undefined]);
    assert.deepEqual(await around(6), [[], [6, 7]]);
    assert.deepEqual(await around(8), [[9], undefined]);
    assert.deepEqual(await around(10), [[11, 13, 15], undefined]);
    assert.equal(await firstReadable(memory.engine, log, 2, 16), 4);
    assert.equal(await firstReadable(memory.engine, log, 6, 16), 8);
    assert.equal(await firstReadable(memory.engine, log, 6, 7), 7, 'never behind the end');
  });

  it('belong to one partition of one topic', () => {
    const other = record(4, 2, { partition: partition + 1 });
    const block = blockOf(record(2, 2), other, record(6, 2));
    const offsets = (ofTopic: number, ofPartition: number) =>
      wholeRecordsOf(block, ofTopic, ofPartition).map(([key]) => lastOffsetOfLogKey(key));
    assert.deepEqual(offsets(topicId, partition), [3, 7]);
    assert.deepEqual(offsets(topicId, partition + 1), [5]);
    assert.deepEqual(offsets(topicId + 1, partition), []);
  });
});

describe('the small record of a key in a damaged block', () => {
  const key = Buffer.from('wanted');
  const value = (text: string): Buffer => seal(key, Buffer.from(text));

  it('is the first whole one, which is the newest, whatever the length of the other keys', () => {
    const entry = (text: string): [Buffer, Buffer] => [key, value(text)];
    const broken = entry('broken');
    broken[1][0]! ^= 1;
    const other: [Buffer, Buffer] = [Buffer.from('a longer key'), Buffer.alloc(30, 1)];
    const found = (...entries: [Buffer, Buffer][]) =>
      wholeSealedValueOf(blockOf(...entries), key)?.toString();
    assert.equal(found(other, entry('newest'), entry('older'), other), 'newest');
    assert.equal(found(broken, other, entry('older')), 'older');
    assert.equal(found(other, broken), undefined);
    assert.equal(found([Buffer.from('x'), Buffer.of()], entry('')), '');
    assert.equal(wholeSealedValueOf(blockOf(entry('newest')), Buffer.from('other')), undefined);
  });

  it('is found behind an entry whose lengths are altered', () => {
    const block = blockOf([Buffer.from('first'), Buffer.alloc(40, 1)], [key, value('second')]);
    for (const changed of [0xff, 0x80 | 100, 200]) {
      const altered = Buffer.from(block);
      altered[2] = changed;
      assert.equal(wholeSealedValueOf(altered, key)?.toString(), 'second', `${changed}`);
    }
  });
});

import assert from 'node:assert/strict';
import { emptyExtent } from '../../../../src/storage/codec/extent.js';
import { lastOffsetOfLogKey, logRange } from '../../../../src/storage/engine/keys.js';
import { findRecord, nextReadable } from '../../../../src/storage/log/find-record.js';
import { LogPositions } from '../../../../src/storage/log/log-positions.js';
import { PartitionLog } from '../../../../src/storage/log/partition-log.js';
import {
  firstReadable,
  readAroundDamage,
  readFirst,
  readOnce,
} from '../../../../src/storage/log/read-around.js';
import { ReadSlots } from '../../../../src/storage/log/read-slots.js';
import {
  blockOf,
  engineError,
  logUpTo,
  MemoryEngine,
  messageBytes,
  partition,
  record,
  refused,
  topicId,
} from './memory-engine.js';

const corruption = (error: unknown): boolean => (error as { code?: string }).code === 'LEVEL_CORRUPTION';

/** Records of two messages each, published at 1000, 1010, …, one behind the other. */
function filled(recordCount: number): { memory: MemoryEngine; log: PartitionLog } {
  const memory = new MemoryEngine();
  for (let i = 0; i < recordCount; i += 1) {
    memory.put(record(2 * i, 2, { timeMs: 1_000 + 10 * i, position: 2 * i * messageBytes }));
  }
  return { memory, log: logUpTo(2 * recordCount, 2 * recordCount * messageBytes) };
}

function damageRecord(memory: MemoryEngine, firstOffset: number): void {
  const [key, value] = record(firstOffset, 2);
  value[value.length - 1]! ^= 1;
  memory.put([key, value]);
}

describe('one read of the log', () => {
  it('is repeated once if the disk failed, and closes its scan', async () => {
    const { memory } = filled(2);
    const read = () => readOnce(memory.engine, partition, logRange(topicId, 0), 9, 1_000);
    memory.failures.push(engineError('LEVEL_IO_ERROR'));
    assert.equal((await read()).length, 2);
    memory.failures.push(engineError('LEVEL_IO_ERROR', 'first'), engineError('LEVEL_IO_ERROR', 'second'));
    await assert.rejects(read(), /second/);
    memory.failures.push(engineError('LEVEL_CORRUPTION', 'damaged'));
    await assert.rejects(read(), /damaged/);
    assert.equal(memory.openScans, 0);
  });
});

describe('the first record at or behind an offset', () => {
  it('is the one that contains the offset, and none at the end', async () => {
    const { memory, log } = filled(2);
    const at = async (offset: number) => {
      const entry = await readFirst(memory.engine, log, offset);
      return entry && lastOffsetOfLogKey(entry[0]);
    };
    assert.deepEqual(
      [await at(0), await at(1), await at(2), await at(3), await at(4)],
      [1, 1, 3, 3, undefined],
    );
  });

  it('is found by its key where a damaged block stops the scan', async () => {
    const { memory, log } = filled(3);
    memory.scansFail = true;
    const [key] = (await readFirst(memory.engine, log, 2))!;
    assert.equal(lastOffsetOfLogKey(key), 3);
    memory.damaged.add(3);
    assert.equal(
      lastOffsetOfLogKey((await readFirst(memory.engine, log, 2))![0]),
      5,
      'behind the damaged one',
    );
    memory.damaged.add(5);
    await assert.rejects(readFirst(memory.engine, log, 2), corruption);
  });

  it('passes on every other error', async () => {
    const { memory, log } = filled(1);
    memory.failures.push(engineError('LEVEL_LOCKED', 'unexpected'));
    await assert.rejects(readFirst(memory.engine, log, 0), /unexpected/);
  });
});

describe('reading around damage', () => {
  const around = async (memory: MemoryEngine, log: PartitionLog, offset: number, maxCount = 100) => {
    const { before, damage } = await readAroundDamage(memory.engine, log, offset, log.endOffset, maxCount);
    assert.equal(memory.openScans, 0);
    return { before: before.map(([key]) => lastOffsetOfLogKey(key)), damage };
  };

  it('answers the records before, and names exactly the offsets that can not be read', async () => {
    const { memory, log } = filled(10);
    for (const lastOffset of [5, 7, 9]) memory.damaged.add(lastOffset);
    const { before, damage } = await around(memory, log, 0);
    assert.deepEqual(before, [1, 3]);
    assert.deepEqual([damage?.firstOffset, damage?.lastOffset], [4, 9]);
    assert.match(damage!.why, /the block that holds them is damaged: it broke/);
  });

  it('names everything up to the end if nothing behind can be read', async () => {
    const { memory, log } = filled(4);
    for (const lastOffset of [3, 5, 7]) memory.damaged.add(lastOffset);
    const { before, damage } = await around(memory, log, 1);
    assert.deepEqual(before, [1]);
    assert.deepEqual([damage?.firstOffset, damage?.lastOffset], [2, 7]);
  });

  it('answers so many records as were asked for, and everything where nothing is damaged', async () => {
    const { memory, log } = filled(4);
    assert.deepEqual(await around(memory, log, 2, 2), { before: [3, 5], damage: undefined });
    assert.deepEqual(await around(memory, log, 2), { before: [3, 5, 7], damage: undefined });
  });

  it('takes single records by their keys where scans fail', async () => {
    const { memory, log } = filled(4);
    memory.scansFail = true;
    memory.damaged.add(7);
    assert.deepEqual(await around(memory, log, 0), { before: [1, 3, 5], damage: undefined });
    memory.damaged.add(3);
    assert.deepEqual(await around(memory, log, 0), { before: [1], damage: undefined }, 'up to the gap');
  });

  it('takes the whole records of a damaged block from its bytes', async () => {
    const { memory, log } = filled(6);
    const damagedRecord = record(6, 2);
    damagedRecord[1][damagedRecord[1].length - 1]! ^= 1;
    memory.block = blockOf(record(2, 2), record(4, 2), damagedRecord, record(8, 2));
    for (const lastOffset of [3, 5, 7, 9]) memory.damaged.add(lastOffset);
    assert.deepEqual(await around(memory, log, 0), { before: [1, 3, 5], damage: undefined });
    const behind = await around(memory, log, 6);
    assert.deepEqual(behind.before, []);
    assert.deepEqual([behind.damage?.firstOffset, behind.damage?.lastOffset], [6, 7]);
    assert.equal(lastOffsetOfLogKey((await readFirst(memory.engine, log, 3))![0]), 3);
    assert.equal(lastOffsetOfLogKey((await readFirst(memory.engine, log, 6))![0]), 9, 'the next whole one');
  });

  it('passes on every other error', async () => {
    const { memory, log } = filled(1);
    memory.failures.push(engineError('LEVEL_IO_ERROR', 'no such sector'));
    await assert.rejects(around(memory, log, 0), /no such sector/);
  });

  it('finds the first readable offset behind damage of any length', async () => {
    for (const recordCount of [1, 2, 3, 7, 30]) {
      const { memory, log } = filled(recordCount + 3);
      for (let i = 1; i <= recordCount; i += 1) memory.damaged.add(2 * i + 1);
      memory.keysFail = true;
      const readable = 2 * recordCount + 2;
      assert.equal(
        await firstReadable(memory.engine, log, 2, log.endOffset),
        readable,
        `${recordCount} records`,
      );
      assert.equal(await firstReadable(memory.engine, log, 3, log.endOffset), readable);
      assert.equal(
        await firstReadable(memory.engine, log, 2, readable - 1),
        readable - 1,
        'never behind the end',
      );
    }
  });
});

describe('the next readable record', () => {
  const next = async (memory: MemoryEngine, log: PartitionLog, offset: number, endOffset = log.endOffset) =>
    (await nextReadable(memory.engine, log, offset, endOffset))?.firstOffset;

  it('skips damage that is known, damaged records and damaged blocks', async () => {
    const { memory, log } = filled(6);
    assert.equal(await next(memory, log, 3), 2);
    log.damage.add({ firstOffset: 2, lastOffset: 3, why: 'known' });
    assert.equal(await next(memory, log, 2), 4);
    damageRecord(memory, 4);
    assert.equal(await next(memory, log, 2), 6);
    memory.damaged.add(7);
    assert.equal(await next(memory, log, 2), 8);
  });

  it('is none at the end, nor where the record begins behind it', async () => {
    const { memory, log } = filled(3);
    assert.equal(await next(memory, log, 6), undefined);
    assert.equal(await next(memory, log, 4, 4), undefined);
    memory.remove(3);
    assert.equal(await next(memory, log, 2, 4), undefined, 'the next record begins at 4');
    assert.equal(await next(memory, log, 2, 5), 4);
  });

  it('does not take a disk that fails for damage', async () => {
    const { memory, log } = filled(1);
    memory.failures.push(engineError('LEVEL_IO_ERROR'), engineError('LEVEL_IO_ERROR'));
    await assert.rejects(next(memory, log, 0), refused('READ_FAILED', /offset 0/));
    memory.failures.push(engineError('LEVEL_LOCKED', 'unexpected'));
    await assert.rejects(next(memory, log, 0), /unexpected/);
  });
});

describe('the search for a record', () => {
  it('finds the first for which the question is true, from any record on', async () => {
    const { memory, log } = filled(9);
    for (let wanted = 0; wanted <= 9; wanted += 1) {
      const found = await findRecord(memory.engine, log, ({ firstOffset }) => firstOffset >= 2 * wanted);
      assert.equal(found?.firstOffset, wanted === 9 ? undefined : 2 * wanted);
    }
    const within = await findRecord(memory.engine, log, () => true, 5, 9);
    assert.equal(within?.firstOffset, 4, 'the record that contains the first offset');
    assert.equal(await findRecord(memory.engine, log, () => true, 5, 5), undefined);
  });

  it('skips what is damaged', async () => {
    const { memory, log } = filled(9);
    damageRecord(memory, 8);
    const found = await findRecord(memory.engine, log, ({ firstOffset }) => firstOffset >= 8);
    assert.equal(found?.firstOffset, 10);
  });
});

describe('positions in a log', () => {
  const positionsOf = (memory: MemoryEngine) => new LogPositions(memory.engine, new ReadSlots(1));

  it('are found by time', async () => {
    const { memory, log } = filled(5);
    const positions = positionsOf(memory);
    const expected = [
      [0, 0],
      [1_000, 0],
      [1_001, 2],
      [1_010, 2],
      [1_040, 8],
      [1_041, 10],
    ];
    for (const [timeMs, offset] of expected) {
      assert.equal(await positions.offsetAt(log, timeMs!), offset, `at ${timeMs}`);
    }
    log.firstOffset = 3;
    assert.equal(await positions.offsetAt(log, 0), 3, 'never below the first that is kept');
  });

  it('are found by time where the clock was set back', async () => {
    const times = [1_000, 1_100, 500, 600, 1_050];
    const memory = new MemoryEngine();
    for (const [i, timeMs] of times.entries()) memory.put(record(2 * i, 2, { timeMs }));
    const log = new PartitionLog(topicId, partition, { ...emptyExtent, endOffset: 10, clockSteps: [4] });
    const positions = positionsOf(memory);
    assert.equal(await positions.offsetAt(log, 400), 0);
    assert.equal(await positions.offsetAt(log, 550), 6, 'the offsets before the step count as earlier');
    assert.equal(await positions.offsetAt(log, 1_040), 8);
    assert.equal(await positions.offsetAt(log, 1_060), 10);
    log.firstOffset = 4;
    assert.equal(await positions.offsetAt(log, 400), 4, 'a step at the first kept offset is none');
  });

  it('are found by bytes, down to one message', async () => {
    const { memory, log } = filled(4);
    const positions = positionsOf(memory);
    for (const [bytes, offset] of [
      [0, 8],
      [messageBytes - 1, 8],
      [messageBytes, 7],
      [2 * messageBytes, 6],
      [3 * messageBytes - 1, 6],
      [3 * messageBytes, 5],
      [8 * messageBytes, 0],
      [99 * messageBytes, 0],
    ]) {
      assert.equal(await positions.offsetOfNewest(log, bytes!), offset, `${bytes} bytes`);
    }
    log.firstOffset = 5;
    assert.equal(await positions.offsetOfNewest(log, 99 * messageBytes), 5);
    log.firstOffset = 8;
    assert.equal(await positions.offsetOfNewest(log, 1), 8);
  });

  it('count the bytes before a record', async () => {
    const { memory, log } = filled(4);
    const positions = positionsOf(memory);
    assert.equal(await positions.positionOf(log, 0), 0);
    assert.equal(await positions.positionOf(log, 3), 2 * messageBytes);
    assert.equal(await positions.positionOf(log, 8), 8 * messageBytes);
    damageRecord(memory, 6);
    assert.equal(await positions.positionOf(log, 6), 8 * messageBytes, 'without a whole record, the end');
  });
});

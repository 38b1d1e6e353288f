import assert from 'node:assert/strict';
import { limits } from '../../../../src/base/limits.js';
import { SpareMemory } from '../../../../src/base/spare-memory.js';
import { MiB } from '../../../../src/base/units.js';
import { Run } from '../../../../src/storage/codec/run.js';
import type { PartitionLog } from '../../../../src/storage/log/partition-log.js';
import { ReadSlots } from '../../../../src/storage/log/read-slots.js';
import { Readers } from '../../../../src/storage/log/readers.js';
import { Tail } from '../../../../src/storage/log/tail.js';
import type { StoredRun } from '../../../../src/storage/types.js';
import { VirtualWall } from '../../../integration/storage/harness.js';
import {
  engineError,
  logUpTo,
  lost,
  MemoryEngine,
  messageBytes,
  partition,
  record,
  refused,
} from './memory-engine.js';

/** Readers of a partition with so many records of two messages. */
function setup(recordCount: number, maxBytes = MiB) {
  const memory = new MemoryEngine();
  for (let i = 0; i < recordCount; i += 1) memory.put(record(2 * i, 2));
  const clock = new VirtualWall(0);
  const readers = new Readers(clock, memory.engine, new ReadSlots(1), maxBytes);
  const log = logUpTo(2 * recordCount);
  return { memory, clock, readers, log };
}

const firsts = (runs: readonly StoredRun[]) => runs.map(({ firstOffset }) => firstOffset);

/** Puts the messages from here on into the tail, too. */
function fillTail(log: PartitionLog, from: number, until: number): void {
  const tail = new Tail(MiB, new SpareMemory(0));
  const header = { producerId: '', targetSubscriptionId: 0, count: 2, byteLength: 10 };
  for (let first = from; first < until; first += 2) {
    const run = new Run(partition, first, 0, header, new Uint8Array(10));
    tail.add(new ArrayBuffer(10), [{ segment: log.tail, runs: [run] }]);
  }
}

describe('a reader of the log', () => {
  it('reads about as much as it is asked for, and at least one run', async () => {
    const { readers, log } = setup(4);
    const reader = readers.open(log);
    assert.deepEqual(firsts(await reader.read(1, 1)), [0]);
    assert.deepEqual(firsts(await reader.read(2, 2 * messageBytes)), [2]);
    assert.deepEqual(firsts(await reader.read(2, 2 * messageBytes + 1)), [2, 4]);
    assert.deepEqual(firsts(await reader.read(3, MiB)), [2, 4, 6]);
    assert.deepEqual(firsts(await reader.read(0, MiB)), [0, 2, 4, 6], 'also backwards');
    assert.deepEqual(await reader.read(8, MiB), []);
  });

  it('answers from what it holds, and holds what it has not passed', async () => {
    const { memory, readers, log } = setup(4);
    const reader = readers.open(log);
    const read = reader.read(0, 1);
    assert.ok(read instanceof Promise);
    await read;
    const scans = memory.scanCount;
    assert.equal(readers.heldBytes, 8 * messageBytes);
    assert.deepEqual(firsts(reader.read(2, 1) as readonly StoredRun[]), [2], 'at once');
    assert.equal(readers.heldBytes, 6 * messageBytes);
    assert.deepEqual(firsts(reader.read(3, 1) as readonly StoredRun[]), [2]);
    assert.equal(memory.scanCount, scans);
    assert.equal(readers.holdingCount, 1);
    reader.close();
    assert.equal(readers.heldBytes, 0);
    assert.equal(readers.holdingCount, 0);
    await new Promise(setImmediate);
    assert.equal(memory.openScans, 0);
  });

  it('goes over to the tail, and gives up what it holds', async () => {
    const { readers, log } = setup(4);
    const reader = readers.open(log);
    fillTail(log, 4, 8);
    assert.deepEqual(firsts(await reader.read(0, 1)), [0]);
    assert.equal(readers.holdingCount, 1);
    assert.deepEqual(firsts(reader.read(4, MiB) as readonly StoredRun[]), [4, 6]);
    assert.equal(readers.holdingCount, 0);
    assert.equal(readers.heldBytes, 0);
  });

  it('gives up its scan soon, and everything after a time without a read', async () => {
    const { memory, clock, readers, log } = setup(2);
    const reader = readers.open(log);
    await reader.read(0, 1);
    clock.fire();
    await new Promise(setImmediate);
    assert.equal(memory.openScans, 0);
    assert.equal(readers.holdingCount, 1);
    const sweeps = limits.readerIdleMs / limits.scanOpenMs;
    for (let i = 1; i < sweeps - 1; i += 1) clock.fire();
    assert.equal(readers.holdingCount, 1);
    await reader.read(2, 1);
    for (let i = 0; i < sweeps - 1; i += 1) clock.fire();
    assert.equal(readers.holdingCount, 1, 'the read counts');
    clock.fire();
    assert.equal(readers.holdingCount, 0);
    assert.equal(readers.heldBytes, 0);
    assert.deepEqual(firsts(await reader.read(0, 1)), [0]);
  });

  it('opens a new scan for what was committed after the last one', async () => {
    const { memory, readers, log } = setup(1);
    const reader = readers.open(log);
    await reader.read(0, MiB);
    memory.put(record(2, 2));
    log.endOffset = 4;
    assert.deepEqual(firsts(await reader.read(2, MiB)), [2]);
  });

  it('makes room, from the reader that was used least recently', async () => {
    const { readers, log } = setup(4, 2 * 8 * messageBytes);
    const [a, b, c] = [1, 2, 3].map(() => readers.open(log));
    await a!.read(0, 1);
    await b!.read(0, 1);
    assert.equal(readers.holdingCount, 2);
    await a!.read(1, 1);
    await c!.read(0, 1);
    assert.equal(readers.heldBytes, 16 * messageBytes);
    assert.ok(Array.isArray(a!.read(1, 1)), 'it was used since');
    assert.ok(b!.read(1, 1) instanceof Promise);
  });

  it('gets errors when it reaches them, after everything before', async () => {
    const { memory, readers, log } = setup(4);
    memory.damaged.add(5);
    const reader = readers.open(log);
    assert.deepEqual(firsts(await reader.read(0, MiB)), [0, 2]);
    await assert.rejects(async () => reader.read(4, MiB), lost(4, 5, /damaged/));
    await assert.rejects(async () => reader.read(5, MiB), lost(5, 5, /damaged/));
    assert.deepEqual(firsts(await reader.read(6, MiB)), [6]);
    const broken = setup(1);
    broken.memory.failures.push(engineError('LEVEL_IO_ERROR'), engineError('LEVEL_IO_ERROR'));
    const other = broken.readers.open(broken.log);
    await assert.rejects(async () => other.read(0, 1), refused('READ_FAILED'));
    assert.deepEqual(firsts(await other.read(0, 1)), [0], 'a later read may succeed');
  });

  it('refuses what is not kept, or no longer exists', () => {
    const { readers, log } = setup(2);
    const reader = readers.open(log);
    log.firstOffset = 2;
    assert.throws(() => reader.read(1, 1), refused('OFFSET_OUT_OF_RANGE', /the first that is kept is 2/));
    log.isDeleted = true;
    assert.throws(() => reader.read(2, 1), refused('TOPIC_DELETED'));
  });

  it('does one read at a time, and answers an empty list if it is closed meanwhile', async () => {
    const { readers, log } = setup(2);
    const reader = readers.open(log);
    const underWay = reader.read(0, 1);
    assert.throws(() => reader.read(0, 1), /one read at a time/);
    reader.close();
    assert.deepEqual(await underWay, []);
    assert.deepEqual(firsts(await reader.read(0, 1)), [0]);
  });

  it('refuses a read under way when the database is closed', async () => {
    const { readers, log } = setup(2);
    const reading = readers.open(log).read(0, 1);
    const waiting = readers.open(log).read(0, 1);
    readers.close();
    for (const read of [reading, waiting]) {
      await assert.rejects(async () => read, refused('STORAGE_FAILED', /the store is closed/));
    }
  });

  it('ends with the database', async () => {
    const { memory, readers, log } = setup(2);
    const reader = readers.open(log);
    await reader.read(0, 1);
    readers.close();
    assert.equal(readers.heldBytes, 0);
    await new Promise(setImmediate);
    assert.equal(memory.openScans, 0);
    assert.throws(() => reader.read(0, 1), refused('STORAGE_FAILED', /the store is closed/));
  });
});

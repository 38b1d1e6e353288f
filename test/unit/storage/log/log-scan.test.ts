import assert from 'node:assert/strict';
import { MiB } from '../../../../src/base/units.js';
import { logKey } from '../../../../src/storage/engine/keys.js';
import { LogScan } from '../../../../src/storage/log/log-scan.js';
import type { PartitionLog } from '../../../../src/storage/log/partition-log.js';
import { engineError, logUpTo, lost, MemoryEngine, record, refused, topicId } from './memory-engine.js';

/** Records of two messages each: 0 to 1, 2 to 3, … */
function filled(recordCount: number): { memory: MemoryEngine; log: PartitionLog } {
  const memory = new MemoryEngine();
  for (let i = 0; i < recordCount; i += 1) memory.put(record(2 * i, 2));
  return { memory, log: logUpTo(2 * recordCount) };
}

function scanOf(memory: MemoryEngine, log: PartitionLog, offset = 0, batchBytes = MiB): LogScan {
  return new LogScan(memory.engine, log, offset, batchBytes);
}

async function firstOffsets(scan: LogScan): Promise<number[]> {
  return (await scan.next()).map(({ firstOffset }) => firstOffset);
}

describe('a scan of the log', () => {
  it('answers the runs from the one that contains the offset on, and ends', async () => {
    const { memory, log } = filled(3);
    const scan = scanOf(memory, log, 3);
    assert.deepEqual(await firstOffsets(scan), [2, 4]);
    assert.deepEqual(await firstOffsets(scan), []);
    assert.deepEqual(await firstOffsets(scan), []);
    await scan.close();
    assert.equal(memory.openScans, 0);
  });

  it('reads batch by batch without a gap', async () => {
    const { memory, log } = filled(3);
    const scan = scanOf(memory, log, 0, 1);
    for (const offset of [0, 2, 4]) assert.deepEqual(await firstOffsets(scan), [offset]);
    assert.deepEqual(await firstOffsets(scan), []);
  });

  it('answers nothing that is written and not committed', async () => {
    const { memory, log } = filled(3);
    log.endOffset = 4;
    const scan = scanOf(memory, log);
    assert.deepEqual(await firstOffsets(scan), [0, 2]);
    log.endOffset = 6;
    assert.deepEqual(await firstOffsets(scan), [], 'the scan has ended');
  });

  it('ends where messages are committed after it was opened', async () => {
    const { memory, log } = filled(2);
    const scan = scanOf(memory, log);
    log.endOffset = 6;
    assert.deepEqual(await firstOffsets(scan), [0, 2]);
    assert.deepEqual(await firstOffsets(scan), []);
  });

  it('counts a hole between two records as a loss, after everything before it', async () => {
    const { memory, log } = filled(2);
    memory.put(record(6, 2));
    log.endOffset = 8;
    const scan = scanOf(memory, log);
    assert.deepEqual(await firstOffsets(scan), [0, 2]);
    for (let time = 0; time < 2; time += 1) await assert.rejects(scan.next(), lost(4, 5, /missing/));
    assert.equal(memory.openScans, 0);
  });

  it('counts a missing first record and a missing last record as losses', async () => {
    const { memory } = filled(2);
    const behind = scanOf(memory, logUpTo(6), 3);
    assert.deepEqual(await firstOffsets(behind), [2]);
    await assert.rejects(behind.next(), lost(4, 5, /missing/));

    const later = new MemoryEngine();
    later.put(record(2, 2));
    await assert.rejects(scanOf(later, logUpTo(4)).next(), lost(0, 1, /missing/));
  });

  it('counts a record that begins before the one in front of it ends as a loss', async () => {
    const { memory, log } = filled(2);
    memory.put(record(3, 2));
    log.endOffset = 5;
    const scan = scanOf(memory, log);
    assert.deepEqual(await firstOffsets(scan), [0, 2]);
    await assert.rejects(scan.next(), lost(4, 4, /two records hold the same offsets/));
  });

  it('counts an altered record as a loss of its offsets, and the others as readable', async () => {
    const { memory, log } = filled(3);
    const [key, value] = record(2, 2);
    value[value.length - 1]! ^= 1;
    memory.put([key, value]);
    const scan = scanOf(memory, log);
    assert.deepEqual(await firstOffsets(scan), [0]);
    await assert.rejects(scan.next(), lost(2, 3, /the record is damaged: its checksum/));
    assert.deepEqual(await firstOffsets(scanOf(memory, log, 4)), [4]);
  });

  it('counts a record of another partition as a loss', async () => {
    const { memory, log } = filled(2);
    memory.put(record(2, 2, { partition: 9 }));
    await assert.rejects(scanOf(memory, log, 2).next(), lost(2, 3, /another partition/));
  });

  it('remembers a block that can not be read, and answers what is around it', async () => {
    const { memory, log } = filled(5);
    memory.damaged.add(5);
    const scan = scanOf(memory, log);
    assert.deepEqual(await firstOffsets(scan), [0, 2]);
    await assert.rejects(scan.next(), lost(4, 5, /the block that holds them is damaged/));
    assert.deepEqual(log.damage.at(4), log.damage.at(5));
    assert.equal(log.damage.at(6), undefined);
    assert.deepEqual(await firstOffsets(scanOf(memory, log, 6)), [6, 8]);
    assert.equal(memory.openScans, 1, 'the scan that failed is closed');
  });

  it('reads up to damage that is known, and from behind it', async () => {
    const { memory, log } = filled(4);
    memory.damaged.add(3);
    log.damage.add({ firstOffset: 2, lastOffset: 3, why: 'known' });
    const before = scanOf(memory, log);
    assert.deepEqual(await firstOffsets(before), [0]);
    await assert.rejects(before.next(), lost(2, 3, /known/));
    const scans = memory.scanCount;
    await assert.rejects(scanOf(memory, log, 2).next(), lost(2, 3, /known/));
    await assert.rejects(scanOf(memory, log, 3).next(), lost(3, 3, /known/));
    assert.equal(memory.scanCount, scans, 'nothing is read in damage');
    assert.deepEqual(await firstOffsets(scanOf(memory, log, 4)), [4, 6]);
  });

  it('goes on after a damage that the second read does not meet', async () => {
    const { memory, log } = filled(3);
    memory.failures.push(engineError('LEVEL_CORRUPTION'));
    const scan = scanOf(memory, log);
    assert.deepEqual(await firstOffsets(scan), [0, 2, 4]);
    assert.deepEqual(await firstOffsets(scan), []);
    assert.equal(log.damage.from(0), undefined);
  });

  it('repeats a read that the disk failed, once', async () => {
    const { memory, log } = filled(2);
    memory.failures.push(engineError('LEVEL_IO_ERROR'));
    assert.deepEqual(await firstOffsets(scanOf(memory, log)), [0, 2]);
    memory.failures.push(engineError('LEVEL_IO_ERROR'), engineError('LEVEL_IO_ERROR', 'no such sector'));
    const scan = scanOf(memory, log, 2);
    await assert.rejects(scan.next(), refused('READ_FAILED', /offset 2.*no such sector/));
    assert.equal(log.damage.from(0), undefined, 'a later read may succeed');
    assert.deepEqual(await firstOffsets(scanOf(memory, log, 2)), [2]);
  });

  it('passes on every other error of the engine', async () => {
    const { memory, log } = filled(1);
    memory.failures.push(engineError('LEVEL_LOCKED', 'unexpected'));
    await assert.rejects(scanOf(memory, log).next(), /unexpected/);
  });

  it('names no loss where retention or a deletion removed the messages meanwhile', async () => {
    const { memory, log } = filled(1);
    log.endOffset = 4;
    const scan = scanOf(memory, log, 1);
    assert.deepEqual(await firstOffsets(scan), [0]);
    log.firstOffset = 3;
    await assert.rejects(scan.next(), refused('OFFSET_OUT_OF_RANGE'));
    const deleted = scanOf(memory, log, 3);
    log.isDeleted = true;
    await assert.rejects(deleted.next(), refused('TOPIC_DELETED'));
  });

  it('reads no other topic', async () => {
    const { memory, log } = filled(1);
    memory.put([logKey(topicId + 1, 3), record(2, 2)[1]]);
    const scan = scanOf(memory, log);
    assert.deepEqual(await firstOffsets(scan), [0]);
    assert.deepEqual(await firstOffsets(scan), []);
  });
});

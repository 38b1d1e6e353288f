import assert from 'node:assert/strict';
import type { Change } from '../../../../src/storage/codec/changes.js';
import { writeChange } from '../../../../src/storage/codec/changes.js';
import { seal } from '../../../../src/storage/codec/sealed-value.js';
import { PointReads } from '../../../../src/storage/log/point-reads.js';
import { engineError, MemoryEngine, refused } from './memory-engine.js';

function setup(...changes: Change[]) {
  const memory = new MemoryEngine();
  const put = (_column: number, key: Buffer, value: Uint8Array) => memory.put([key, seal(key, value)]);
  const target = { put, delete() {}, clear() {}, clearFirst() {}, append() {}, idUsed() {} };
  for (const change of changes) writeChange(change, { ...target, cursor() {} });
  return { memory, reads: new PointReads(memory.engine) };
}

const note = (offset: number): Change => ({
  kind: 'dead-letter',
  subscriptionId: 1,
  partition: 0,
  offset,
  attempts: 3,
});

describe('small reads', () => {
  it('find dead-letter notes in their bounds', async () => {
    const { memory, reads } = setup(...[2, 4, 6, 8].map(note));
    assert.deepEqual(await reads.deadLetterOffsets(1, 0, 0, 100, 100), [2, 4, 6, 8]);
    assert.deepEqual(await reads.deadLetterOffsets(1, 0, 4, 6, 100), [4, 6]);
    assert.deepEqual(await reads.deadLetterOffsets(1, 0, 3, 8, 2), [4, 6]);
    assert.deepEqual(await reads.deadLetterOffsets(1, 1, 0, 100, 100), []);
    assert.deepEqual(await reads.deadLetterOffsets(2, 0, 0, 100, 100), []);
    assert.deepEqual(await reads.deadLetter(1, 0, 4), {
      subscriptionId: 1,
      partition: 0,
      offset: 4,
      attempts: 3,
    });
    assert.equal(await reads.deadLetter(1, 0, 5), undefined);
    assert.equal(memory.openScans, 0);
  });

  it('find producers and redrives', async () => {
    const producer = { epoch: 2, lastSequence: 9, baseSequence: 4 };
    const { reads } = setup(
      { kind: 'producer', topicId: 1, producerId: 'p', ...producer },
      { kind: 'redrive', subscriptionId: 1, deadLetterTopicId: 3, partition: 2, offset: 40 },
      { kind: 'redrive', subscriptionId: 1, deadLetterTopicId: 4, partition: 1, offset: 50 },
    );
    assert.deepEqual(await reads.producer(1, 'p'), producer);
    assert.equal(await reads.producer(1, 'q'), undefined);
    assert.deepEqual([...(await reads.redrives(1, 3))], [[2, 40]]);
    assert.deepEqual([...(await reads.cursors(1, 4))], [], 'redrives are no cursors');
  });

  it('are repeated once if the disk failed', async () => {
    const { memory, reads } = setup(note(2));
    memory.failures.push(engineError('LEVEL_IO_ERROR'));
    assert.deepEqual(await reads.deadLetterOffsets(1, 0, 0, 9, 9), [2]);
    memory.failures.push(engineError('LEVEL_IO_ERROR'), engineError('LEVEL_IO_ERROR', 'no such sector'));
    await assert.rejects(
      reads.deadLetterOffsets(1, 0, 0, 9, 9),
      refused(
        'READ_FAILED',
        /the dead-letter notes of subscription 1, partition 0 can't be read, the disk failed twice: no such sector/,
      ),
    );
    assert.equal(memory.openScans, 0);
    memory.failures.push(engineError('LEVEL_LOCKED', 'unexpected'));
    await assert.rejects(reads.deadLetterOffsets(1, 0, 0, 9, 9), /^Error: unexpected/);
  });

  it('name what is damaged', async () => {
    const { memory, reads } = setup(note(2), note(4));
    memory.failures.push(engineError('LEVEL_CORRUPTION', 'block checksum mismatch in /data/db/000009.sst'));
    await assert.rejects(
      reads.redrives(1, 3),
      refused(
        'DATA_LOSS',
        /how far subscription 1 has redriven topic 3 can't be read, it is damaged: block checksum mismatch in 000009.sst/,
      ),
    );
    const producer = setup({
      kind: 'producer',
      topicId: 1,
      producerId: 'p',
      epoch: 1,
      lastSequence: 1,
      baseSequence: 0,
    });
    producer.memory.flip();
    await assert.rejects(
      producer.reads.producer(1, 'p'),
      refused('DATA_LOSS', /producer "p" of topic 1 .*checksum/),
    );
    const dead = setup(note(2));
    dead.memory.flip();
    await assert.rejects(dead.reads.deadLetter(1, 0, 2), refused('DATA_LOSS', /offset 2 can't be read/));
    await assert.rejects(
      dead.reads.cursors(1, 4).then(() => dead.reads.deadLetterOffsets(1, 0, 0, 9, 9)),
      refused('DATA_LOSS'),
    );
  });
});

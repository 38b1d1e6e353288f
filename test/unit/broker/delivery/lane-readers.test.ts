import assert from 'node:assert/strict';
import { LaneReaders } from '../../../../src/broker/delivery/lane-readers.js';
import type { Storage, StoredRun } from '../../../../src/storage/types.js';

describe('the readers of a subscription', () => {
  let opened: string[];
  let closed: string[];
  let answers: ((runs: readonly StoredRun[]) => void)[];
  let readers: LaneReaders;
  let isInMemory: boolean;

  beforeEach(() => {
    opened = [];
    closed = [];
    answers = [];
    isInMemory = false;
    const openReader = (topicId: number, partition: number) => {
      const name = `${topicId}/${partition}#${opened.length}`;
      opened.push(name);
      return {
        read: () => (isInMemory ? [] : new Promise<readonly StoredRun[]>((resolve) => answers.push(resolve))),
        close: () => void closed.push(name),
      };
    };
    readers = new LaneReaders({ openReader } as unknown as Storage, 7);
  });

  it('are one for each partition, opened by the first read', () => {
    isInMemory = true;
    for (const partition of [0, 1, 0]) assert.deepEqual(readers.read(partition, 0, 1), []);
    assert.deepEqual(opened, ['7/0#0', '7/1#1']);
    readers.closeAll();
    assert.deepEqual(closed, ['7/0#0', '7/1#1']);
    readers.closeAll();
    assert.equal(closed.length, 2);
    readers.read(0, 0, 1);
    assert.equal(opened.length, 3);
  });

  it('are used again after a read of the disk was answered', async () => {
    const read = readers.read(0, 0, 1);
    answers[0]!([]);
    assert.deepEqual(await read, []);
    void readers.read(0, 1, 1);
    assert.deepEqual(opened, ['7/0#0']);
    assert.deepEqual(closed, []);
  });

  it('are replaced while a read that is overtaken is under way', async () => {
    const overtaken = readers.read(0, 0, 1);
    const second = readers.read(0, 5, 1);
    assert.deepEqual(closed, ['7/0#0']);
    answers[0]!([]);
    await overtaken;
    void readers.read(0, 6, 1);
    assert.deepEqual(closed, ['7/0#0', '7/0#1'], 'the second read is still under way');
    answers[1]!([]);
    await second;
    assert.equal(opened.length, 3);
  });
});

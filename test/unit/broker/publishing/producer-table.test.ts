import assert from 'node:assert/strict';
import { limits } from '../../../../src/base/limits.js';
import { ProducerTable } from '../../../../src/broker/publishing/producer-table.js';
import type { ProducerState, Storage } from '../../../../src/storage/types.js';

const topicId = 1;

describe('ProducerTable', () => {
  let readCount: number;
  let table: ProducerTable;

  beforeEach(() => {
    readCount = 0;
    const readProducer = async (): Promise<ProducerState | undefined> => {
      readCount++;
      return undefined;
    };
    table = new ProducerTable({ readProducer } as unknown as Storage);
  });

  /** Producers whose entries can't be forgotten, as many as the table keeps. */
  async function fillWithPending(): Promise<void> {
    for (let i = 0; i < limits.cachedProducers; i++) {
      await table.loadFor(topicId, `pending-${i}`, (entry) => entry.pendingCount++);
    }
    readCount = 0;
  }

  it('serves one more producer while every known one has a commit under way', async () => {
    await fillWithPending();
    const used = await table.loadFor(topicId, 'one more', (entry) => entry);
    assert.equal(readCount, 1);
    assert.equal(table.get(topicId, 'one more'), used);
  });

  it('serves several of them that are loaded in the same turn, each with the entry in the table', async () => {
    await fillWithPending();
    const names = Array.from({ length: 5 }, (_, i) => `more-${i}`);
    await Promise.all(
      names.map((name) =>
        table.loadFor(topicId, name, (entry) => {
          assert.equal(entry.pendingCount, 0);
          assert.equal(table.get(topicId, name), entry);
        }),
      ),
    );
    assert.equal(readCount, names.length);
  });

  it('forgets the least recently used producer without a commit under way', async () => {
    await fillWithPending();
    await table.load(topicId, 'idle');
    await table.load(topicId, 'next');
    assert.equal(table.get(topicId, 'idle'), undefined);
    assert.notEqual(table.get(topicId, 'next'), undefined);
  });

  it('keeps what was used last, and reads what it has forgotten again', async () => {
    for (let i = 0; i < limits.cachedProducers; i++) await table.load(topicId, `p-${i}`);
    assert.equal(readCount, limits.cachedProducers);
    assert.notEqual(table.get(topicId, 'p-0'), undefined);
    await table.load(topicId, 'p-0');
    await table.load(topicId, 'one more');
    assert.equal(readCount, limits.cachedProducers + 1);
    assert.notEqual(table.get(topicId, 'p-0'), undefined);
    assert.equal(table.get(topicId, 'p-1'), undefined);
    await table.load(topicId, 'p-1');
    assert.equal(readCount, limits.cachedProducers + 2);
  });

  it('reads a producer once for several that ask at the same time', async () => {
    const [a, b, other] = await Promise.all([
      table.load(topicId, 'p'),
      table.load(topicId, 'p'),
      table.load(topicId + 1, 'p'),
    ]);
    assert.equal(a, b);
    assert.notEqual(a, other);
    assert.equal(readCount, 2);
  });
});

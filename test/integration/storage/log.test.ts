import assert from 'node:assert/strict';
import { append, closeAll, commit, createHarness, createTopic, payloads, readAll } from './harness.js';

describe('storage: the log', () => {
  afterEach(closeAll);

  it('gives offsets at once and reads back what was appended, byte for byte', async () => {
    const { storage, events } = await createHarness();
    const topicId = await createTopic(storage, 'orders', 2);
    const big = 'x'.repeat(700_000);
    const committed = commit(storage, {
      appends: [
        append(topicId, 0, ['a', 'b']),
        append(topicId, 1, ['c', '', big]),
        append(topicId, 0, ['d'], 'p'),
      ],
    });
    assert.deepEqual(storage.extent(topicId, 0), { firstOffset: 0, endOffset: 0, bytes: 0 });
    assert.deepEqual(await committed, [0, 0, 2]);
    assert.equal(storage.extent(topicId, 0).endOffset, 3);
    assert.deepEqual(events, [`${topicId}/0:3`, `${topicId}/1:3`]);

    const runs = storage.openReader(topicId, 0).read(0, 1_000_000);
    assert(Array.isArray(runs), 'the tail answers at once');
    assert.deepEqual(payloads(runs), ['a', 'b', 'd']);
    assert.deepEqual(
      runs.map(({ firstOffset, count, producerId }) => ({ firstOffset, count, producerId })),
      [
        { firstOffset: 0, count: 2, producerId: '' },
        { firstOffset: 2, count: 1, producerId: 'p' },
      ],
    );
    assert.deepEqual(payloads(await readAll(storage.openReader(topicId, 1), 0)), ['c', '', big]);
  });

  it('reads the same from the disk, after a restart too', async () => {
    const harness = await createHarness({ tailBytes: 0 });
    const topicId = await createTopic(harness.storage, 'orders');
    const sent = Array.from({ length: 5_000 }, (_, index) => `message ${index} ${'y'.repeat(index % 500)}`);
    for (let at = 0; at < sent.length; at += 100) {
      await commit(harness.storage, { appends: [append(topicId, 0, sent.slice(at, at + 100))] });
    }
    assert.deepEqual(payloads(await readAll(harness.storage.openReader(topicId, 0), 0)), sent);
    const before = harness.storage.extent(topicId, 0);
    const storage = await harness.reopen();
    assert.deepEqual(storage.extent(topicId, 0), before);
    assert.deepEqual(payloads(await readAll(storage.openReader(topicId, 0), 0)), sent);
    assert.deepEqual(await commit(storage, { appends: [append(topicId, 0, ['more'])] }), [5_000]);
  });
});

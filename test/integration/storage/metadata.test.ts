import assert from 'node:assert/strict';
import type { CursorState } from '../../../src/base/positions.js';
import type { CatalogSubscription, CatalogTopic, Storage } from '../../../src/storage/types.js';
import {
  append,
  closeAll,
  commit,
  createHarness,
  createTopic,
  payloads,
  readAll,
  subscriptionConfig,
  topicConfig,
} from './harness.js';

const cursor = (acknowledgedOffset: number): CursorState => ({
  acknowledgedOffset,
  settled: [{ first: acknowledgedOffset + 2, last: acknowledgedOffset + 4 }],
  failed: [{ offset: acknowledgedOffset + 1, attempts: 3 }],
  deadLetterCount: 1,
});

describe('storage: the metadata', () => {
  afterEach(closeAll);

  it('keeps the catalog, and never gives an id twice', async () => {
    const harness = await createHarness();
    const topics: CatalogTopic[] = [1, 2, 3].map((topicId) => ({
      topicId,
      config: topicConfig(`t${topicId}`, topicId),
    }));
    const subscription: CatalogSubscription = {
      subscriptionId: harness.storage.nextSubscriptionId(),
      topicId: 2,
      config: subscriptionConfig('t2', 's'),
    };
    for (const { topicId } of topics) assert.equal(harness.storage.nextTopicId(), topicId);
    await commit(harness.storage, { putTopics: topics, putSubscriptions: [subscription] });
    await commit(harness.storage, {
      putTopics: [{ topicId: 1, config: topicConfig('t1', 4) }],
      deleteTopics: [3],
    });

    const storage = await harness.reopen();
    assert.deepEqual(storage.recovered.topics, [{ topicId: 1, config: topicConfig('t1', 4) }, topics[1]]);
    assert.deepEqual(storage.recovered.subscriptions, [subscription]);
    assert.equal(storage.nextTopicId(), 4);
    assert.equal(storage.nextSubscriptionId(), subscription.subscriptionId + 1);
    assert.equal(storage.extent(1, 3).endOffset, 0);
    assert.throws(() => storage.extent(3, 0));
    assert.throws(
      () =>
        storage.submit({
          durability: 'synced',
          changes: [{ kind: 'topic', topicId: 1, config: topicConfig('t1', 3) }],
        }),
      'fewer partitions',
    );
    assert.throws(
      () =>
        storage.submit({
          durability: 'synced',
          changes: [{ kind: 'topic', topicId: 1, config: topicConfig('t1', 5) }],
        }),
      'more partitions than the store has',
    );
  });

  it('creates a topic and appends to it in one commit', async () => {
    const { storage } = await createHarness();
    const topicId = storage.nextTopicId();
    const offsets = await commit(storage, {
      putTopics: [{ topicId, config: topicConfig('new', 2) }],
      appends: [append(topicId, 1, ['first'])],
    });
    assert.deepEqual(offsets, [0]);
    assert.equal(storage.extent(topicId, 1).endOffset, 1);
  });

  it('keeps cursors, dead letters, redrives and producers', async () => {
    const harness = await createHarness();
    const subscriptionId = harness.storage.nextSubscriptionId();
    const other = harness.storage.nextSubscriptionId();
    const topicId = await createTopic(harness.storage, 't', 2);
    await commit(harness.storage, {
      putSubscriptions: [subscriptionId, other].map((id) => ({
        subscriptionId: id,
        topicId,
        config: subscriptionConfig('t', `s${id}`),
      })),
      appends: [0, 1].map((partition) => append(topicId, partition, Array(20).fill('m'))),
    });
    const note = { subscriptionId, partition: 1, offset: 6, attempts: 10 };
    await commit(harness.storage, {
      cursors: [
        { subscriptionId, partition: 0, state: () => cursor(5) },
        { subscriptionId, partition: 1, state: () => cursor(7) },
        { subscriptionId: other, partition: 0, state: () => cursor(9) },
      ],
      deadLetters: [note],
      redrives: [
        { subscriptionId, deadLetterTopicId: 8, partition: 0, offset: 2 },
        { subscriptionId, deadLetterTopicId: 8, partition: 1, offset: 3 },
        { subscriptionId, deadLetterTopicId: 8, partition: 1, offset: 4 },
        { subscriptionId, deadLetterTopicId: 9, partition: 1, offset: 5 },
      ],
      producers: [
        { topicId, producerId: 'p', epoch: 1, lastSequence: 3, baseSequence: 0 },
        { topicId, producerId: 'p', epoch: 1, lastSequence: 4, baseSequence: 0 },
        { topicId, producerId: 'pq', epoch: 9, lastSequence: 9, baseSequence: 0 },
      ],
    });
    const check = async (storage: Storage): Promise<void> => {
      assert.deepEqual(
        await storage.readCursors(subscriptionId, 4),
        new Map([
          [0, cursor(5)],
          [1, cursor(7)],
        ]),
      );
      assert.deepEqual(await storage.readCursors(other, 4), new Map([[0, cursor(9)]]));
      assert.deepEqual(await storage.readDeadLetter(subscriptionId, 1, 6), note);
      assert.equal(await storage.readDeadLetter(subscriptionId, 1, 7), undefined);
      const offsets = (...range: [number, number, number]) =>
        storage.readDeadLetterOffsets(subscriptionId, 1, ...range);
      assert.deepEqual(await offsets(0, 100, 10), [6]);
      assert.deepEqual(await offsets(6, 6, 10), [6]);
      assert.deepEqual([...(await offsets(0, 5, 10)), ...(await offsets(7, 9, 10))], []);
      assert.deepEqual(
        await storage.readRedrives(subscriptionId, 8),
        new Map([
          [0, 2],
          [1, 4],
        ]),
      );
      assert.deepEqual(await storage.readRedrives(other, 8), new Map());
      assert.deepEqual(await storage.readProducer(topicId, 'p'), {
        epoch: 1,
        lastSequence: 4,
        baseSequence: 0,
      });
      assert.equal(await storage.readProducer(topicId, 'absent'), undefined);
    };
    await check(harness.storage);
    await check(await harness.reopen());
  });

  it('writes a cursor once a round, as it is when the round is put together', async () => {
    const { storage } = await createHarness();
    const subscriptionId = storage.nextSubscriptionId();
    const topicId = await createTopic(storage, 't');
    await commit(storage, {
      putSubscriptions: [{ subscriptionId, topicId, config: subscriptionConfig('t', 's') }],
    });
    let acknowledgedOffset = 0;
    let callCount = 0;
    const commits = Array.from({ length: 10 }, () => {
      acknowledgedOffset++;
      const state = (): CursorState => {
        callCount++;
        return cursor(acknowledgedOffset);
      };
      return commit(storage, { cursors: [{ subscriptionId, partition: 0, state }] });
    });
    await Promise.all(commits);
    assert.equal(callCount, 1);
    assert.deepEqual(await storage.readCursors(subscriptionId, 4), new Map([[0, cursor(10)]]));
  });

  it('deletes a topic with its messages and producers, and nothing of its neighbours', async () => {
    const harness = await createHarness({ tailBytes: 0 });
    const { storage } = harness;
    const [before, topicId, after] = [
      await createTopic(storage, 'before', 2),
      await createTopic(storage, 'gone', 2),
      await createTopic(storage, 'after', 2),
    ];
    const ids = [before, topicId, after];
    await commit(storage, {
      appends: ids.flatMap((id) => [append(id, 0, [`${id}`]), append(id, 1, [`${id}`])]),
      producers: ids.map((id) => ({
        topicId: id,
        producerId: 'p',
        epoch: 1,
        lastSequence: id,
        baseSequence: 0,
      })),
    });
    const reader = storage.openReader(topicId, 0);
    // One that is submitted before and one after: the deletion lies between them.
    const last = commit(storage, { appends: [append(topicId, 0, ['last'])] });
    const deleted = commit(storage, { deleteTopics: [topicId] });
    assert.throws(() => storage.submit({ durability: 'synced', changes: [append(topicId, 0, ['late'])] }));
    assert.deepEqual(await last, [1]);
    await deleted;
    assert.throws(() => reader.read(0, 1), /deleted/);
    assert.throws(() => storage.extent(topicId, 0));

    const check = async (): Promise<void> => {
      for (const id of [before, after]) {
        assert.deepEqual(payloads(await readAll(harness.storage.openReader(id, 1), 0)), [`${id}`]);
        assert.deepEqual(await harness.storage.readProducer(id, 'p'), {
          epoch: 1,
          lastSequence: id,
          baseSequence: 0,
        });
      }
      assert.equal(await harness.storage.readProducer(topicId, 'p'), undefined);
    };
    await check();
    await harness.reopen();
    await check();
    // The first closing notes what is synced without the topic; the second opening forgets that it was deleted.
    await harness.reopen();
    await check();
    assert.deepEqual(
      harness.storage.recovered.topics.map((topic) => topic.topicId),
      [before, after],
    );
  });

  it('deletes a subscription with its cursors, also those that are on their way', async () => {
    const harness = await createHarness();
    const { storage } = harness;
    const topicId = await createTopic(storage, 't');
    const ids = [storage.nextSubscriptionId(), storage.nextSubscriptionId()];
    await commit(storage, {
      putSubscriptions: ids.map((subscriptionId) => ({
        subscriptionId,
        topicId,
        config: subscriptionConfig('t', `s${subscriptionId}`),
      })),
      appends: [append(topicId, 0, Array(20).fill('m'))],
    });
    const [gone, kept] = ids as [number, number];
    const update = (subscriptionId: number) => ({ subscriptionId, partition: 0, state: () => cursor(1) });
    const note = { partition: 0, offset: 0, attempts: 1 };
    const redriveOf = (subscriptionId: number) => ({
      subscriptionId,
      deadLetterTopicId: topicId,
      partition: 0,
      offset: 1,
    });
    await commit(storage, {
      cursors: [update(gone), update(kept)],
      deadLetters: ids.map((subscriptionId) => ({ subscriptionId, ...note })),
      redrives: ids.map(redriveOf),
    });
    const deleted = commit(storage, { deleteSubscriptions: [gone] });
    const late = commit(storage, { cursors: [update(gone)], redrives: [redriveOf(gone)] });
    await Promise.all([deleted, late]);
    const check = async (reopened: Storage): Promise<void> => {
      assert.deepEqual(await reopened.readCursors(gone, 4), new Map());
      assert.equal(await reopened.readDeadLetter(gone, 0, 0), undefined);
      assert.deepEqual(await reopened.readRedrives(gone, topicId), new Map());
      assert.deepEqual(await reopened.readRedrives(kept, topicId), new Map([[0, 1]]));
      assert.deepEqual(await reopened.readCursors(kept, 4), new Map([[0, cursor(1)]]));
      assert.deepEqual(await reopened.readDeadLetter(kept, 0, 0), { subscriptionId: kept, ...note });
    };
    await check(storage);
    await check(await harness.reopen());
  });

  it('refuses reads after it was closed', async () => {
    const { storage } = await createHarness();
    await createTopic(storage, 't');
    await storage.close();
    const refusal = { reason: 'STORAGE_FAILED', message: 'the store is closed' };
    await assert.rejects(storage.readProducer(1, 'p'), refusal);
    await assert.rejects(storage.readCursors(1, 1), refusal);
    await assert.rejects(storage.readDeadLetter(1, 0, 0), refusal);
    await assert.rejects(storage.readDeadLetterOffsets(1, 0, 0, 9, 10), refusal);
    await assert.rejects(storage.readRedrives(1, 1), refusal);
  });
});

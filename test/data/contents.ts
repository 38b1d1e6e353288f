import assert from 'node:assert/strict';
import type { Storage } from '../../src/storage/types.js';
import {
  append,
  commit,
  createTopic,
  payloads,
  readAll,
  subscriptionConfig,
  topicConfig,
} from '../integration/storage/harness.js';

/**
 * What the committed data directories hold: everything that a store can hold, in two halves, so that the first is in
 * tables and the second in the log of the database. Deterministic: `checkContents` knows every byte.
 */
export const partitionCount = 3;

const sizes = [0, 1, 10, 200, 3_000];

function payload(partition: number, index: number): string {
  const size = index === 7 ? 20_000 : sizes[index % sizes.length]!;
  return `${partition}/${index}:`.padEnd(size, String.fromCharCode(97 + (index % 26)));
}

const messagesInHalf = 12;

async function publish(storage: Storage, topicId: number, half: number): Promise<void> {
  for (let index = half * messagesInHalf; index < (half + 1) * messagesInHalf; index++) {
    const producerId = index % 2 === 0 ? '' : 'till-1';
    const appends = Array.from({ length: partitionCount }, (_, partition) =>
      append(topicId, partition, [payload(partition, index)], producerId),
    );
    const producers = [
      { topicId, producerId: 'till-1', epoch: 1 + half, lastSequence: index + 1, baseSequence: 0 },
    ];
    await commit(storage, { appends, producers });
  }
}

/** The first half: also what is deleted and made again. */
export async function fillFirstHalf(storage: Storage): Promise<void> {
  const removedId = await createTopic(storage, 'invoices', 2);
  const removedSubscriptionId = storage.nextSubscriptionId();
  await commit(storage, {
    appends: [append(removedId, 0, ['gone'])],
    producers: [{ topicId: removedId, producerId: 'gone', epoch: 1, lastSequence: 1, baseSequence: 0 }],
    putSubscriptions: [
      {
        subscriptionId: removedSubscriptionId,
        topicId: removedId,
        config: subscriptionConfig('invoices', 'gone'),
      },
    ],
    cursors: [
      {
        subscriptionId: removedSubscriptionId,
        partition: 0,
        state: () => ({ acknowledgedOffset: 1, settled: [], failed: [], deadLetterCount: 0 }),
      },
    ],
  });
  const topicId = await createTopic(storage, 'orders', partitionCount);
  assert.equal(topicId, 2);
  const deadLetterTopicId = await createTopic(storage, 'orders.billing.dead-letters');
  await commit(storage, { deleteTopics: [removedId], deleteSubscriptions: [removedSubscriptionId] });
  const madeAgainId = await createTopic(storage, 'invoices', 1);
  await commit(storage, { appends: [append(madeAgainId, 0, ['new'])] });
  for (const name of ['billing', 'audit']) {
    const subscriptionId = storage.nextSubscriptionId();
    const config = { ...subscriptionConfig('orders', name), createTimeMs: 1_700_000_000_500 };
    await commit(storage, { putSubscriptions: [{ subscriptionId, topicId, config }] });
  }
  await publish(storage, topicId, 0);
  await commit(storage, {
    cursors: [cursor(2, 0, 3, [{ first: 5, last: 6 }], [{ offset: 3, attempts: 2 }])],
    deadLetters: [{ subscriptionId: 2, partition: 0, offset: 6, attempts: 10 }],
    appends: [append(deadLetterTopicId, 0, ['dead letter 1'])],
  });
}

/** The second half: some of it replaces what the first said. */
export async function fillSecondHalf(storage: Storage): Promise<void> {
  await publish(storage, 2, 1);
  await commit(storage, {
    cursors: [
      cursor(2, 0, 4, [{ first: 5, last: 8 }], [{ offset: 4, attempts: 3 }], 1),
      cursor(2, 1, 24, []),
      cursor(3, 2, 7, [{ first: 9, last: 9 }]),
    ],
    deadLetters: [{ subscriptionId: 2, partition: 0, offset: 8, attempts: 7 }],
    redrives: [{ subscriptionId: 2, deadLetterTopicId: 3, partition: 0, offset: 1 }],
    appends: [append(3, 0, ['dead letter 2'])],
    producers: [{ topicId: 2, producerId: 'till-2', epoch: 5, lastSequence: 0, baseSequence: 0 }],
  });
  await storage.removeBelow(2, 1, 4);
  await commit(storage, {});
}

function cursor(
  subscriptionId: number,
  partition: number,
  acknowledgedOffset: number,
  settled: { first: number; last: number }[],
  failed: { offset: number; attempts: number }[] = [],
  deadLetterCount = 0,
) {
  const state = { acknowledgedOffset, settled, failed, deadLetterCount };
  return { subscriptionId, partition, state: () => state };
}

/** Fails unless the store holds exactly what the two halves say. */
export async function checkContents(storage: Storage): Promise<void> {
  const { topics, subscriptions } = storage.recovered;
  assert.deepEqual(
    topics.map(({ topicId, config }) => ({ topicId, config })),
    [
      { topicId: 2, config: topicConfig('orders', partitionCount) },
      { topicId: 3, config: topicConfig('orders.billing.dead-letters') },
      { topicId: 4, config: topicConfig('invoices') },
    ],
  );
  assert.deepEqual(
    subscriptions.map(({ subscriptionId, topicId, config }) => [
      subscriptionId,
      topicId,
      config.topic,
      config.name,
      config.createTimeMs,
    ]),
    [
      [2, 2, 'orders', 'billing', 1_700_000_000_500],
      [3, 2, 'orders', 'audit', 1_700_000_000_500],
    ],
  );
  for (let partition = 0; partition < partitionCount; partition++) {
    const firstOffset = partition === 1 ? 4 : 0;
    const extent = storage.extent(2, partition);
    assert.deepEqual([extent.firstOffset, extent.endOffset], [firstOffset, 2 * messagesInHalf]);
    const runs = await readAll(storage.openReader(2, partition), firstOffset);
    assert.deepEqual(
      payloads(runs),
      Array.from({ length: 2 * messagesInHalf - firstOffset }, (_, index) =>
        payload(partition, firstOffset + index),
      ),
    );
    for (const run of runs) {
      assert.equal(run.producerId, run.firstOffset % 2 === 0 ? '' : 'till-1');
      assert(run.publishTimeMs > 1_700_000_000_000);
    }
  }
  const read = async (topicId: number) => payloads(await readAll(storage.openReader(topicId, 0), 0));
  assert.deepEqual(await read(3), ['dead letter 1', 'dead letter 2']);
  assert.deepEqual(await read(4), ['new']);

  const cursors = (subscriptionId: number) => storage.readCursors(subscriptionId, 4);
  assert.deepEqual([...(await cursors(1))], []);
  assert.deepEqual(
    [...(await cursors(2))],
    [
      [0, cursor(2, 0, 4, [{ first: 5, last: 8 }], [{ offset: 4, attempts: 3 }], 1).state()],
      [1, cursor(2, 1, 24, []).state()],
    ],
  );
  assert.deepEqual([...(await cursors(3))], [[2, cursor(3, 2, 7, [{ first: 9, last: 9 }]).state()]]);
  assert.deepEqual(await storage.readProducer(2, 'till-1'), { epoch: 2, lastSequence: 24, baseSequence: 0 });
  assert.deepEqual(await storage.readProducer(2, 'till-2'), { epoch: 5, lastSequence: 0, baseSequence: 0 });
  assert.equal(await storage.readProducer(1, 'gone'), undefined);
  assert.equal((await storage.readDeadLetter(2, 0, 6))?.attempts, 10);
  assert.equal((await storage.readDeadLetter(2, 0, 8))?.attempts, 7);
  assert.equal(await storage.readDeadLetter(2, 0, 7), undefined);
  assert.deepEqual([...(await storage.readRedrives(2, 3))], [[0, 1]]);
  assert.equal(storage.nextTopicId(), 5);
  assert.equal(storage.nextSubscriptionId(), 4);
}

import assert from 'node:assert/strict';
import { InvariantError } from '../../../../src/base/invariant.js';
import { emptyExtent } from '../../../../src/storage/codec/extent.js';
import { Sequencer } from '../../../../src/storage/commit/sequencer.js';
import { metadataKey, metadataKind } from '../../../../src/storage/engine/keys.js';
import type { Change, Transaction } from '../../../../src/storage/types.js';
import { append, subscriptionConfig, topicConfig } from '../../../integration/storage/harness.js';

const maxId = 2 ** 32 - 2;
const topic = (topicId: number, partitionCount = 1): Change => ({
  kind: 'topic',
  topicId,
  config: topicConfig(`t${topicId}`, partitionCount),
});

/** A store with topic 1 of two partitions, the first up to offset 10, and subscription 1. */
function recovered(changes: object = {}): Sequencer {
  const state = {
    topics: new Map([[1, { topicId: 1, config: topicConfig('t1', 2) }]]),
    subscriptions: [{ subscriptionId: 1, topicId: 1, config: subscriptionConfig('t1', 's') }],
    extents: new Map([[1, new Map([[0, { ...emptyExtent, endOffset: 10 }]])]]),
    nextTopicId: 5,
    nextSubscriptionId: 7,
    deletedTopicIds: new Set<number>(),
    deletedSubscriptionIds: new Set<number>(),
    ...changes,
  };
  return new Sequencer(state as unknown as ConstructorParameters<typeof Sequencer>[0], 4);
}

function accept(sequencer: Sequencer, ...changes: Change[]) {
  const transaction: Transaction = { durability: 'synced', changes };
  return sequencer.accept(transaction);
}

describe('the sequencer', () => {
  it('gives out each id once, up to the largest', () => {
    const sequencer = recovered({ nextTopicId: maxId, nextSubscriptionId: maxId });
    assert.equal(sequencer.nextTopicId(), maxId);
    assert.equal(sequencer.nextSubscriptionId(), maxId);
    assert.throws(() => sequencer.nextTopicId(), /the ids of topics are used up/);
    assert.throws(() => sequencer.nextSubscriptionId(), /the ids of subscriptions are used up/);
    const other = recovered();
    assert.deepEqual([other.nextTopicId(), other.nextTopicId(), other.nextSubscriptionId()], [5, 6, 7]);
    assert.deepEqual(other.counters, { nextTopicId: 7, nextSubscriptionId: 8 });
  });

  it('gives offsets in the order of the appends, from where the log ends', () => {
    const sequencer = recovered();
    const both = accept(sequencer, append(1, 0, ['a', 'b']), append(1, 1, ['c']), append(1, 0, ['d']));
    assert.deepEqual(both.firstOffsets, [10, 0, 12]);
    assert.deepEqual(accept(sequencer, append(1, 0, ['e'])).firstOffsets, [13]);
    assert.deepEqual(accept(sequencer).firstOffsets, []);
    assert.deepEqual(
      both.submission.appendLogs,
      [0, 1, 0].map((partition) => sequencer.log(1, partition)),
    );
  });

  it('accepts an append to a topic or partition that the same transaction creates', () => {
    const sequencer = recovered();
    const topicId = sequencer.nextTopicId();
    assert.deepEqual(accept(sequencer, topic(topicId), append(topicId, 0, ['a'])).firstOffsets, [0]);
    assert.deepEqual(accept(sequencer, topic(1, 3), append(1, 2, ['a'])).firstOffsets, [0]);
    assert.equal(sequencer.log(1, 0).nextOffset, 10, 'the others stay');
    assert.deepEqual(
      sequencer.logsOf(2).map((log) => [log.topicId, log.partition]),
      [[1, 2]],
    );
    assert.deepEqual(
      sequencer.logsOf(0).map((log) => log.topicId),
      [1, topicId],
    );
  });

  it('refuses what does not fit, and changes nothing', () => {
    const sequencer = recovered();
    const good = append(1, 0, ['a']);
    assert.throws(() => accept(sequencer, good, append(2, 0, ['a'])), { reason: 'TOPIC_NOT_FOUND' });
    assert.throws(() => accept(sequencer, good, append(1, 2, ['a'])), { reason: 'UNKNOWN_PARTITION' });
    assert.throws(() => accept(sequencer, topic(1, 3), good, append(1, 3, ['a'])), {
      reason: 'UNKNOWN_PARTITION',
    });
    const faults: [Change[], RegExp][] = [
      [[good, topic(5)], /topic id 5 was never given out/],
      [[good, topic(4, 0)], /can't have 0 partitions/],
      [[good, topic(4, 5)], /can't have 5 partitions/],
      [[good, topic(1, 1)], /can't have 1 partitions/],
      [[good, { ...good, count: 0 }], /not what it says/],
      [[good, { ...good, byteLength: good.byteLength + 1 }], /not what it says/],
      [[good, { kind: 'delete-topic', topicId: 1 }, good], /follows the deletion/],
    ];
    for (const [changes, text] of faults) {
      assert.throws(
        () => accept(sequencer, ...changes),
        (error) => error instanceof InvariantError && text.test(error.message),
      );
    }
    assert.deepEqual(accept(sequencer, topic(4, 4), good).firstOffsets, [10]);
  });

  it('knows subscriptions as of the last submission', () => {
    const sequencer = recovered();
    const state = () => ({ acknowledgedOffset: 0, settled: [], failed: [], deadLetterCount: 0 });
    const recordsOf = (subscriptionId: number): Change[] => [
      { kind: 'cursor', subscriptionId, partition: 0, state },
      { kind: 'redrive', subscriptionId, deadLetterTopicId: 2, partition: 0, offset: 4 },
      { kind: 'dead-letter', subscriptionId, partition: 0, offset: 3, attempts: 5 },
      { kind: 'remove-dead-letters', subscriptionId, partition: 0, first: 1, last: 2 },
    ];
    const kept = (...changes: Change[]) => accept(sequencer, ...changes).submission.transaction.changes;
    assert.deepEqual(kept(...recordsOf(1)), recordsOf(1));
    const config = subscriptionConfig('t1', 'x');
    const created: Change = { kind: 'subscription', subscriptionId: 7, topicId: 1, config };
    assert.deepEqual(kept(...recordsOf(7)), [], 'not of a missing one');
    assert.deepEqual(kept(created, ...recordsOf(7)), [created, ...recordsOf(7)]);
    const before = accept(sequencer, ...recordsOf(7)).submission;
    accept(sequencer, { kind: 'delete-subscription', subscriptionId: 7 });
    assert.deepEqual(before.transaction.changes, recordsOf(7), 'they are written before the deletion');
    assert.deepEqual(kept(...recordsOf(7)), []);
  });

  it('drops each kind of record of a missing subscription, wherever it is in a transaction', () => {
    const sequencer = recovered();
    const state = () => ({ acknowledgedOffset: 0, settled: [], failed: [], deadLetterCount: 0 });
    const recordsOf = (subscriptionId: number): Change[] => [
      { kind: 'cursor', subscriptionId, partition: 0, state },
      { kind: 'redrive', subscriptionId, deadLetterTopicId: 2, partition: 0, offset: 4 },
      { kind: 'dead-letter', subscriptionId, partition: 0, offset: 3, attempts: 5 },
      { kind: 'remove-dead-letters', subscriptionId, partition: 0, first: 1, last: 2 },
    ];
    for (const orphan of recordsOf(9)) {
      for (const kept of recordsOf(1)) {
        for (const changes of [
          [orphan, kept],
          [kept, orphan],
          [kept, orphan, kept],
        ]) {
          const { submission } = accept(sequencer, ...changes);
          assert.deepEqual(
            submission.transaction.changes,
            changes.filter((change) => change === kept),
            `${orphan.kind} beside ${kept.kind}`,
          );
        }
      }
    }
  });

  it('binds dead letters and removals of notes to earlier submissions: cursors show both already', () => {
    const sequencer = recovered();
    const place = { subscriptionId: 1, partition: 0 };
    const isBound = (...changes: Change[]) => accept(sequencer, ...changes).submission.isBoundToEarlier;
    const letter: Change = { kind: 'dead-letter', ...place, offset: 3, attempts: 5 };
    assert.equal(isBound(append(1, 0, ['m']), letter), true);
    assert.equal(isBound({ kind: 'remove-dead-letters', ...place, first: 1, last: 2 }), true);
    assert.equal(isBound(append(1, 0, ['m'])), false);
  });

  it('notes deletions, and retires a note after the synced offsets were taken without it', () => {
    const sequencer = recovered({ deletedTopicIds: new Set([9]), deletedSubscriptionIds: new Set([8]) });
    const old = [metadataKey(metadataKind.deletedTopic, 9), metadataKey(metadataKind.deletedSubscription, 8)];
    assert.equal(sequencer.hasDeletions, true);
    assert.deepEqual(sequencer.takeRetiredDeletions(), []);
    sequencer.log(1, 0).syncedOffset = 10;
    const log = sequencer.log(1, 1);
    assert.deepEqual(sequencer.syncedOffsets(), [{ topicId: 1, partition: 0, endOffset: 10 }]);
    assert.equal(sequencer.hasDeletions, false);
    assert.deepEqual(sequencer.takeRetiredDeletions(), old);
    assert.deepEqual(sequencer.takeRetiredDeletions(), []);

    const { submission } = accept(
      sequencer,
      { kind: 'delete-topic', topicId: 1 },
      { kind: 'delete-subscription', subscriptionId: 1 },
    );
    const keys = [
      metadataKey(metadataKind.deletedTopic, 1),
      metadataKey(metadataKind.deletedSubscription, 1),
    ];
    assert.deepEqual(submission.deletions, keys);
    assert.equal(submission.deletedLogs.length, 2);
    assert.equal(log.isDeleted, true);
    assert.throws(() => sequencer.log(1, 0), { reason: 'TOPIC_NOT_FOUND' });
    assert.equal(sequencer.hasDeletions, false, 'not before it is written');
    sequencer.deletionsWritten(keys);
    assert.equal(sequencer.hasDeletions, true);
    assert.deepEqual(sequencer.syncedOffsets(), []);
    assert.deepEqual(sequencer.takeRetiredDeletions(), keys);
  });
});

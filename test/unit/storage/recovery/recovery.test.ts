import assert from 'node:assert/strict';
import { encodeCounters } from '../../../../src/storage/codec/counters.js';
import { emptyExtent, encodeExtent } from '../../../../src/storage/codec/extent.js';
import { encodeSubscription } from '../../../../src/storage/codec/subscription.js';
import { encodeTopic } from '../../../../src/storage/codec/topic.js';
import {
  cursorsColumn,
  metadataColumn,
  partitionColumn,
  producersColumn,
} from '../../../../src/storage/engine/columns.js';
import {
  countersKey,
  cursorKey,
  deadLetterKey,
  extentKey,
  logKey,
  metadataKey,
  metadataKind,
  producerKey,
} from '../../../../src/storage/engine/keys.js';
import { clearDeleted, recover } from '../../../../src/storage/recovery/recovery.js';
import { subscriptionConfig, topicConfig } from '../../../integration/storage/harness.js';
import { engineError } from '../log/memory-engine.js';
import { ColumnsEngine } from './columns-engine.js';

const topic = { topicId: 2, config: topicConfig('orders', 2) };
const billing = { subscriptionId: 3, topicId: 2, config: subscriptionConfig('orders', 'billing') };
const extent = { ...emptyExtent, endOffset: 4, lastPublishTimeMs: 9_000 };
const earlier = { ...emptyExtent, endOffset: 6, lastPublishTimeMs: 8_000 };

const topicKey = (id: number): Buffer => metadataKey(metadataKind.topic, id);

/** A store with a topic and a subscription. */
function filled(): ColumnsEngine {
  const memory = new ColumnsEngine();
  const put = (key: Buffer, value: Uint8Array) => memory.putSealed(metadataColumn, key, value);
  put(countersKey, encodeCounters({ nextTopicId: 5, nextSubscriptionId: 6 }));
  put(topicKey(2), encodeTopic(topic));
  put(metadataKey(metadataKind.subscription, 3), encodeSubscription(billing));
  put(extentKey(2, 0), encodeExtent(extent));
  put(extentKey(2, 1), encodeExtent(earlier));
  return memory;
}

const recoverFrom = (memory: ColumnsEngine) => recover(memory.engine, async () => []);

describe('the recovery of a store', () => {
  it('reads the catalog, the extents and the counters', async () => {
    const memory = filled();
    const recovered = await recoverFrom(memory);
    assert.deepEqual([...recovered.topics], [[2, topic]]);
    assert.deepEqual(recovered.subscriptions, [billing]);
    assert.deepEqual(
      [...recovered.extents.get(2)!],
      [
        [0, extent],
        [1, earlier],
      ],
    );
    assert.equal(recovered.lastPublishTimeMs, 9_000, 'the latest');
    assert.deepEqual([recovered.nextTopicId, recovered.nextSubscriptionId], [5, 6]);
    assert.deepEqual([recovered.faults, recovered.lost.damagedKeys], [[], []]);
    assert.deepEqual([recovered.lost.isReadable, recovered.lost.canBeAccepted], [true, true]);
    assert.equal(memory.openScans, 0);
  });

  it('is that of an empty store where there are no records', async () => {
    const recovered = await recoverFrom(new ColumnsEngine());
    assert.deepEqual([recovered.nextTopicId, recovered.nextSubscriptionId], [1, 1]);
    assert.equal(recovered.lastPublishTimeMs, 0);
    assert.deepEqual(recovered.faults, []);
  });

  it('knows deletions, and gives out their ids no more', async () => {
    const memory = filled();
    memory.putSealed(metadataColumn, metadataKey(metadataKind.deletedTopic, 7), Buffer.of());
    memory.putSealed(metadataColumn, metadataKey(metadataKind.deletedSubscription, 9), Buffer.of());
    // What the deletions have not removed yet belongs to no lost owner.
    memory.put(producersColumn, producerKey(7, 'p'), Buffer.of(1));
    memory.put(cursorsColumn, cursorKey(9, 0), Buffer.of(1));
    const recovered = await recoverFrom(memory);
    assert.deepEqual([...recovered.deletedTopicIds], [7]);
    assert.deepEqual([...recovered.deletedSubscriptionIds], [9]);
    assert.deepEqual([recovered.nextTopicId, recovered.nextSubscriptionId], [8, 10]);
    assert.deepEqual(recovered.faults, []);
  });

  it('gives out no id of a damaged record, which it names', async () => {
    for (const [key, text, next] of [
      [topicKey(11), 'the topic of id 11', [12, 6]],
      [extentKey(12, 0), 'the extent of a partition of topic 12', [13, 6]],
      [metadataKey(metadataKind.deletedTopic, 13), 'the deletion of topic 13', [14, 6]],
      [metadataKey(metadataKind.subscription, 14), 'the subscription of id 14', [5, 15]],
      [metadataKey(metadataKind.deletedSubscription, 15), 'the deletion of subscription 15', [5, 16]],
      [Buffer.of(0x70, 0, 0, 0, 99), 'a record of the unknown kind 112 99', [5, 6]],
    ] as const) {
      const memory = filled();
      memory.put(metadataColumn, key, Buffer.alloc(9, 1));
      const recovered = await recoverFrom(memory);
      assert.deepEqual(recovered.faults, [`${text} is damaged: its checksum does not match`]);
      assert.deepEqual(recovered.lost.damagedKeys, [key]);
      assert.deepEqual([recovered.nextTopicId, recovered.nextSubscriptionId], next);
    }
  });

  it('leaves out many ids if the counters are lost, and none in a new store', async () => {
    const memory = filled();
    memory.put(metadataColumn, Buffer.of(0x70), Buffer.alloc(9, 1));
    const known = await recoverFrom(memory);
    assert.deepEqual([known.nextTopicId, known.nextSubscriptionId], [5, 6], 'of another fault');
    memory.remove(metadataColumn, countersKey);
    const lost = await recoverFrom(memory);
    assert.deepEqual([lost.nextTopicId, lost.nextSubscriptionId], [65_536 + 3, 65_536 + 4]);
  });

  it('reads everything again if the disk fails, and reports damage that ends the scan', async () => {
    const memory = filled();
    memory.failures.set(metadataColumn, engineError('LEVEL_CORRUPTION', 'bad block'));
    const { faults, lost } = await recoverFrom(memory);
    assert.deepEqual(faults, ["the catalog can't be read to its end: bad block"]);
    assert.deepEqual([lost.isReadable, lost.canBeAccepted], [false, false]);
    memory.failures.set(metadataColumn, engineError('LEVEL_IO_ERROR', 'no such sector'));
    await assert.rejects(recoverFrom(memory), { reason: 'READ_FAILED' });
    assert.equal(memory.openScans, 0);
  });
});

describe('deletions that a start finishes', () => {
  it('remove what is left of deleted topics and subscriptions, in every partition, and nothing else', async () => {
    const memory = filled();
    const value = Buffer.of(1);
    for (const id of [6, 7, 8]) {
      for (const partition of [0, 1, 3]) memory.put(partitionColumn(partition), logKey(id, 5), value);
      memory.put(producersColumn, producerKey(id, 'p'), value);
      memory.put(cursorsColumn, cursorKey(id, 0), value);
      memory.put(cursorsColumn, cursorKey(id, 3), value);
      memory.put(cursorsColumn, deadLetterKey(id, 0, 4), value);
    }
    const recovered = await recoverFrom(new ColumnsEngine());
    const none = new Set<number>();
    const before = [0, 1, 2].map((column) => memory.keysOf(column).length);
    await clearDeleted(
      memory.engine,
      { ...recovered, deletedTopicIds: none, deletedSubscriptionIds: none },
      4,
    );
    assert.deepEqual(
      [0, 1, 2].map((column) => memory.keysOf(column).length),
      before,
    );

    await clearDeleted(
      memory.engine,
      { ...recovered, deletedTopicIds: new Set([7]), deletedSubscriptionIds: new Set([6, 8]) },
      4,
    );
    for (const partition of [0, 1, 3]) {
      assert.deepEqual(memory.keysOf(partitionColumn(partition)), [logKey(6, 5), logKey(8, 5)]);
    }
    assert.deepEqual(memory.keysOf(producersColumn), [producerKey(6, 'p'), producerKey(8, 'p')]);
    assert.deepEqual(
      memory.keysOf(cursorsColumn).map((key) => key.readUInt32BE(0)),
      [7, 7, 7],
    );
    assert.equal(memory.keysOf(metadataColumn).length, 5, 'the notes of the deletions are removed later');
  });
});

import { decodeCounters, decodeExtent, decodeSubscription, decodeTopic } from './books-codec.js';
import { booksColumn, cursorsColumn, partitionColumn, producersColumn } from './columns.js';
import type { Engine } from './engine.js';
import {
  type BookKind,
  bookKind,
  booksRange,
  idOfBookKey,
  logRange,
  partitionOfExtentKey,
  producerRange,
  subscriptionRange,
} from './keys.js';
import type { Extent } from './partition-log.js';
import type { CatalogSubscription, CatalogTopic } from './types.js';

/** All that the books say. Read in one go: opening never touches the messages. */
export interface Recovered {
  readonly topics: ReadonlyMap<number, CatalogTopic>;
  readonly subscriptions: readonly CatalogSubscription[];
  readonly nextTopicId: number;
  readonly nextSubscriptionId: number;
  readonly extents: ReadonlyMap<number, ReadonlyMap<number, Extent>>;
  readonly lastPublishTimeMs: number;
  readonly deletedTopicIds: ReadonlySet<number>;
  readonly deletedSubscriptionIds: ReadonlySet<number>;
}

const entriesAtOnce = 10_000;

export async function recover(engine: Engine): Promise<Recovered> {
  const topics = new Map<number, CatalogTopic>();
  const subscriptionRecords: Buffer[] = [];
  const extents = new Map<number, Map<number, Extent>>();
  const deletedTopicIds = new Set<number>();
  const deletedSubscriptionIds = new Set<number>();
  let counters = { nextTopicId: 1, nextSubscriptionId: 1 };
  let lastPublishTimeMs = 0;

  const take: Record<BookKind, (key: Buffer, value: Buffer) => void> = {
    [bookKind.counters]: (_, value) => {
      counters = decodeCounters(value);
    },
    [bookKind.topic]: (key, value) => topics.set(idOfBookKey(key), decodeTopic(value)),
    [bookKind.subscription]: (_, value) => subscriptionRecords.push(value),
    [bookKind.extent]: (key, value) => {
      const extent = decodeExtent(value);
      const ofTopic = extents.get(idOfBookKey(key)) ?? new Map<number, Extent>();
      extents.set(idOfBookKey(key), ofTopic.set(partitionOfExtentKey(key), extent));
      lastPublishTimeMs = Math.max(lastPublishTimeMs, extent.lastPublishTimeMs);
    },
    [bookKind.deletedTopic]: (key) => deletedTopicIds.add(idOfBookKey(key)),
    [bookKind.deletedSubscription]: (key) => deletedSubscriptionIds.add(idOfBookKey(key)),
  };

  const scan = engine.scan(booksColumn, booksRange);
  try {
    for (;;) {
      const entries = await scan.next(entriesAtOnce);
      if (entries.length === 0) break;
      for (const [key, value] of entries) take[key[0] as BookKind](key, value);
    }
  } finally {
    await scan.close();
  }
  const topicName = (topicId: number): string => topics.get(topicId)?.config.name ?? '';
  return {
    topics,
    subscriptions: subscriptionRecords.map((record) => decodeSubscription(record, topicName)),
    ...counters,
    extents,
    lastPublishTimeMs,
    deletedTopicIds,
    deletedSubscriptionIds,
  };
}

/** What a crash may have left of deletions that were committed. Cheap where nothing is left. */
export async function clearDeleted(
  engine: Engine,
  recovered: Recovered,
  maxPartitionCount: number,
): Promise<void> {
  for (const topicId of recovered.deletedTopicIds) {
    for (let partition = 0; partition < maxPartitionCount; partition++) {
      await engine.clear(partitionColumn(partition), logRange(topicId, 0));
    }
    await engine.clear(producersColumn, producerRange(topicId));
  }
  for (const id of recovered.deletedSubscriptionIds) await engine.clear(cursorsColumn, subscriptionRange(id));
}

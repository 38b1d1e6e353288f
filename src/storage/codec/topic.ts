import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { Durability, TopicConfig } from '../../base/model.js';
import { DurabilityRecord, TopicRecordSchema } from '../../gen/sluice/storage/v1/records_pb.js';
import { metadataColumn, producersColumn } from '../engine/columns.js';
import { metadataKey, metadataKind, producerRange } from '../engine/keys.js';
import type { ChangeTarget } from './change-target.js';
import { keyOf } from './enum-record.js';

/** A topic of the catalog. Ids are never reused. */
export interface CatalogTopic {
  readonly topicId: number;
  readonly config: TopicConfig;
}

/** Creates or replaces a topic. A new partition count takes effect at once. */
export interface TopicPut extends CatalogTopic {
  readonly kind: 'topic';
}

/** Removes a topic with its messages and producers. */
export interface TopicDeletion {
  readonly kind: 'delete-topic';
  readonly topicId: number;
}

export function writeTopic(topic: TopicPut, target: ChangeTarget): void {
  target.put(metadataColumn, metadataKey(metadataKind.topic, topic.topicId), encodeTopic(topic));
  target.idUsed();
}

/** The submission removes the messages: it knows the partitions. */
export function writeTopicDeletion({ topicId }: TopicDeletion, target: ChangeTarget): void {
  target.delete(metadataColumn, metadataKey(metadataKind.topic, topicId));
  target.put(metadataColumn, metadataKey(metadataKind.deletedTopic, topicId), Buffer.alloc(0));
  target.clear(producersColumn, producerRange(topicId));
}

const durabilityRecords: Readonly<Record<Durability, DurabilityRecord>> = {
  written: DurabilityRecord.WRITTEN,
  synced: DurabilityRecord.SYNCED,
};

export function encodeTopic({ topicId, config }: CatalogTopic): Uint8Array {
  const { retention, backlogLimit, durability } = config;
  return toBinary(
    TopicRecordSchema,
    create(TopicRecordSchema, {
      topicId,
      name: config.name,
      partitionCount: config.partitionCount,
      retention: {
        maxAgeMs: BigInt(retention.maxAgeMs),
        maxBytes: BigInt(retention.maxBytes),
        untilAcknowledged: retention.untilAcknowledged,
        dropUnacknowledged: retention.dropUnacknowledged,
      },
      backlogLimit: {
        maxBytes: BigInt(backlogLimit.maxBytes),
        maxMessages: BigInt(backlogLimit.maxMessages),
        isRejecting: backlogLimit.whenFull === 'reject',
      },
      durability: durability === undefined ? DurabilityRecord.UNSPECIFIED : durabilityRecords[durability],
      createTimeMs: BigInt(config.createTimeMs),
    }),
  );
}

export function decodeTopic(bytes: Uint8Array): CatalogTopic {
  const record = fromBinary(TopicRecordSchema, bytes);
  const { retention, backlogLimit } = record;
  const config: TopicConfig = {
    name: record.name,
    partitionCount: record.partitionCount,
    retention: {
      maxAgeMs: Number(retention?.maxAgeMs ?? 0),
      maxBytes: Number(retention?.maxBytes ?? 0),
      untilAcknowledged: retention?.untilAcknowledged ?? false,
      dropUnacknowledged: retention?.dropUnacknowledged ?? false,
    },
    backlogLimit: {
      maxBytes: Number(backlogLimit?.maxBytes ?? 0),
      maxMessages: Number(backlogLimit?.maxMessages ?? 0),
      whenFull: backlogLimit?.isRejecting === true ? 'reject' : 'block',
    },
    durability: keyOf(durabilityRecords, record.durability),
    createTimeMs: Number(record.createTimeMs),
  };
  return { topicId: record.topicId, config };
}

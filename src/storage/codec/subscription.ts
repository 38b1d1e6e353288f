import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { Ordering, SubscriptionConfig } from '../../base/model.js';
import { OrderingRecord, SubscriptionRecordSchema } from '../../gen/sluice/storage/v1/records_pb.js';
import { cursorsColumn, metadataColumn } from '../engine/columns.js';
import { metadataKey, metadataKind, subscriptionRange } from '../engine/keys.js';
import type { ChangeTarget } from './change-target.js';
import { keyOf } from './enum-record.js';

export interface CatalogSubscription {
  readonly subscriptionId: number;
  readonly topicId: number;
  readonly config: SubscriptionConfig;
}

/** Creates or replaces a subscription. */
export interface SubscriptionPut extends CatalogSubscription {
  readonly kind: 'subscription';
}

/** Removes a subscription with its cursors, dead-letter notes and redrives. */
export interface SubscriptionDeletion {
  readonly kind: 'delete-subscription';
  readonly subscriptionId: number;
}

export function writeSubscription(put: SubscriptionPut, target: ChangeTarget): void {
  const key = metadataKey(metadataKind.subscription, put.subscriptionId);
  target.put(metadataColumn, key, encodeSubscription(put));
  target.idUsed();
}

export function writeSubscriptionDeletion(
  { subscriptionId }: SubscriptionDeletion,
  target: ChangeTarget,
): void {
  target.delete(metadataColumn, metadataKey(metadataKind.subscription, subscriptionId));
  target.put(metadataColumn, metadataKey(metadataKind.deletedSubscription, subscriptionId), Buffer.alloc(0));
  target.clear(cursorsColumn, subscriptionRange(subscriptionId));
}

const orderingRecords: Readonly<Record<Ordering, OrderingRecord>> = {
  partition: OrderingRecord.PARTITION,
  key: OrderingRecord.KEY,
  none: OrderingRecord.NONE,
};

export function encodeSubscription({ subscriptionId, topicId, config }: CatalogSubscription): Uint8Array {
  return toBinary(
    SubscriptionRecordSchema,
    create(SubscriptionRecordSchema, {
      subscriptionId,
      topicId,
      name: config.name,
      ordering: orderingRecords[config.ordering],
      ackDeadlineMs: BigInt(config.ackDeadlineMs),
      minBackoffMs: BigInt(config.minBackoffMs),
      maxBackoffMs: BigInt(config.maxBackoffMs),
      maxAttempts: config.deadLetter.maxAttempts,
      deadLetterTopic: config.deadLetter.topic,
      isDeadLetterDisabled: config.deadLetter.isDisabled,
      createTimeMs: BigInt(config.createTimeMs),
    }),
  );
}

/** The name of the topic is in the topic's own record. */
export function decodeSubscription(
  bytes: Uint8Array,
  topicName: (topicId: number) => string,
): CatalogSubscription {
  const record = fromBinary(SubscriptionRecordSchema, bytes);
  const config: SubscriptionConfig = {
    topic: topicName(record.topicId),
    name: record.name,
    ordering: keyOf(orderingRecords, record.ordering) ?? 'partition',
    ackDeadlineMs: Number(record.ackDeadlineMs),
    minBackoffMs: Number(record.minBackoffMs),
    maxBackoffMs: Number(record.maxBackoffMs),
    deadLetter: {
      maxAttempts: record.maxAttempts,
      topic: record.deadLetterTopic,
      isDisabled: record.isDeadLetterDisabled,
    },
    createTimeMs: Number(record.createTimeMs),
  };
  return { subscriptionId: record.subscriptionId, topicId: record.topicId, config };
}

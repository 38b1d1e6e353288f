import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { Durability, Ordering, SubscriptionConfig, TopicConfig } from '../../base/model.js';
import {
  CounterRecordSchema,
  DeadLetterRecordSchema,
  DurabilityRecord,
  OrderingRecord,
  ProducerRecordSchema,
  SubscriptionRecordSchema,
  TopicRecordSchema,
} from '../../gen/sluice/storage/v1/records_pb.js';
import { readUint64, writeUint64 } from '../engine/bytes.js';
import type { Extent } from '../log/partition-log.js';
import type { CatalogSubscription, CatalogTopic, DeadLetterNote, ProducerState } from '../types.js';
import { varintFieldLength, writeVarintField } from './varint.js';

/** Converts small records between the broker's types and the private protobuf messages. */

const durabilityRecords: Readonly<Record<Durability, DurabilityRecord>> = {
  written: DurabilityRecord.WRITTEN,
  synced: DurabilityRecord.SYNCED,
};
const orderingRecords: Readonly<Record<Ordering, OrderingRecord>> = {
  partition: OrderingRecord.PARTITION,
  key: OrderingRecord.KEY,
  none: OrderingRecord.NONE,
};

function keyOf<K extends string, V>(table: Readonly<Record<K, V>>, value: V): K | undefined {
  return (Object.keys(table) as K[]).find((key) => table[key] === value);
}

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

/** The next free ids. */
export interface Counters {
  readonly nextTopicId: number;
  readonly nextSubscriptionId: number;
}

export function encodeCounters(counters: Counters): Uint8Array {
  return toBinary(CounterRecordSchema, create(CounterRecordSchema, counters));
}

export function decodeCounters(bytes: Uint8Array): Counters {
  const { nextTopicId, nextSubscriptionId } = fromBinary(CounterRecordSchema, bytes);
  return { nextTopicId, nextSubscriptionId };
}

export function encodeProducer(state: ProducerState): Buffer {
  const { epoch, lastSequence, baseSequence, claimId = 0 } = state;
  const bytes = Buffer.allocUnsafe(
    varintFieldLength(epoch) +
      varintFieldLength(lastSequence) +
      varintFieldLength(baseSequence) +
      varintFieldLength(claimId),
  );
  let at = writeVarintField(bytes, 0x08, epoch, 0);
  at = writeVarintField(bytes, 0x10, lastSequence, at);
  at = writeVarintField(bytes, 0x18, baseSequence, at);
  writeVarintField(bytes, 0x20, claimId, at);
  return bytes;
}

export function decodeProducer(bytes: Uint8Array): ProducerState {
  const { epoch, lastSequence, baseSequence, claimId } = fromBinary(ProducerRecordSchema, bytes);
  return {
    epoch: Number(epoch),
    lastSequence: Number(lastSequence),
    baseSequence: Number(baseSequence),
    ...(claimId !== 0n && { claimId: Number(claimId) }),
  };
}

export function encodeDeadLetter({ attempts }: Pick<DeadLetterNote, 'attempts'>): Uint8Array {
  return toBinary(DeadLetterRecordSchema, create(DeadLetterRecordSchema, { attempts }));
}

export function decodeDeadLetter(bytes: Uint8Array): Pick<DeadLetterNote, 'attempts'> {
  return { attempts: fromBinary(DeadLetterRecordSchema, bytes).attempts };
}

/**
 * One is written with every commit for each partition that it changes: plain numbers, and clock steps if there are
 * any.
 */
const extentBytes = 40;

export function encodeExtent(extent: Extent): Buffer {
  const bytes = Buffer.allocUnsafe(extentBytes + 8 * extent.clockSteps.length);
  let at = writeUint64(bytes, extent.firstOffset, 0);
  at = writeUint64(bytes, extent.endOffset, at);
  at = writeUint64(bytes, extent.firstPosition, at);
  at = writeUint64(bytes, extent.endPosition, at);
  at = writeUint64(bytes, extent.lastPublishTimeMs, at);
  for (const offset of extent.clockSteps) at = writeUint64(bytes, offset, at);
  return bytes;
}

export function decodeExtent(bytes: Buffer): Extent {
  const clockSteps: number[] = [];
  for (let at = extentBytes; at + 8 <= bytes.length; at += 8) clockSteps.push(readUint64(bytes, at));
  return {
    firstOffset: readUint64(bytes, 0),
    endOffset: readUint64(bytes, 8),
    firstPosition: readUint64(bytes, 16),
    endPosition: readUint64(bytes, 24),
    lastPublishTimeMs: readUint64(bytes, 32),
    clockSteps,
  };
}

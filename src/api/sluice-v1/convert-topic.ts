import type { MessageInitShape } from '@bufbuild/protobuf';
import type { BacklogLimit, Durability, RetentionPolicy, TopicConfig } from '../../base/model.js';
import type { TopicChange, TopicInfo } from '../../broker/types.js';
import {
  type BacklogLimit as ApiBacklogLimit,
  type RetentionPolicy as ApiRetentionPolicy,
  type Topic,
  type TopicSchema,
  type UpdateTopicRequest,
  BacklogLimit_WhenFull as WhenFull,
} from '../../gen/sluice/v1/admin_pb.js';
import { Durability as ApiDurability } from '../../gen/sluice/v1/message_pb.js';
import { toDuration } from '../duration.js';
import { toUpdatePaths } from './convert-mask.js';
import { checkName, checkTopicName, invalidField, toMs, toNumber, toTimestamp } from './convert-values.js';
import { apiDurability } from './receipts.js';

/** Ignores creation time and statistics in the request: they belong to the broker. */
export function toTopic(topic: Topic | undefined): Omit<TopicConfig, 'createTimeMs'> {
  if (topic === undefined) throw invalidField('topic', 'is missing');
  return {
    name: checkName(topic.name, 'topic.name'),
    partitionCount: topic.partitionCount === 0 ? 1 : topic.partitionCount,
    retention: toRetention(topic.retention),
    backlogLimit: toBacklogLimit(topic.backlogLimit),
    durability: toDurability(topic.durability),
  };
}

const updatable = ['partition_count', 'retention', 'backlog_limit', 'durability'] as const;

/** Changing the durability to undefined restores the broker's default. */
export function toTopicChange({ topic, updateMask }: UpdateTopicRequest): {
  readonly name: string;
  readonly change: TopicChange;
} {
  if (topic === undefined) throw invalidField('topic', 'is missing');
  const isSet = {
    partition_count: topic.partitionCount !== 0,
    retention: topic.retention !== undefined,
    backlog_limit: topic.backlogLimit !== undefined,
    durability: topic.durability !== ApiDurability.UNSPECIFIED,
  };
  const paths = toUpdatePaths(updateMask, updatable, (path) => isSet[path]);
  const change: TopicChange = {
    ...(paths.has('partition_count') ? { partitionCount: topic.partitionCount } : {}),
    ...(paths.has('retention') ? { retention: toRetention(topic.retention) } : {}),
    ...(paths.has('backlog_limit') ? { backlogLimit: toBacklogLimit(topic.backlogLimit) } : {}),
    ...(paths.has('durability') ? { durability: toDurability(topic.durability) } : {}),
  };
  return { name: checkTopicName(topic.name, 'topic.name'), change };
}

function toRetention(policy: ApiRetentionPolicy | undefined): RetentionPolicy {
  return {
    maxAgeMs: toMs(policy?.maxAge, 'topic.retention.max_age'),
    maxBytes: toNumber(policy?.maxBytes ?? 0n, 'topic.retention.max_bytes'),
    untilAcknowledged: policy?.untilAcknowledged ?? false,
    dropUnacknowledged: policy?.dropUnacknowledged ?? false,
  };
}

function toBacklogLimit(limit: ApiBacklogLimit | undefined): BacklogLimit {
  return {
    maxBytes: toNumber(limit?.maxBytes ?? 0n, 'topic.backlog_limit.max_bytes'),
    maxMessages: toNumber(limit?.maxMessages ?? 0n, 'topic.backlog_limit.max_messages'),
    whenFull: toWhenFull(limit?.whenFull ?? WhenFull.UNSPECIFIED),
  };
}

function toWhenFull(whenFull: WhenFull): BacklogLimit['whenFull'] {
  switch (whenFull) {
    case WhenFull.UNSPECIFIED:
    case WhenFull.BLOCK:
      return 'block';
    case WhenFull.REJECT:
      return 'reject';
    default:
      throw invalidField('topic.backlog_limit.when_full', 'there is no such choice');
  }
}

function toDurability(durability: ApiDurability): Durability | undefined {
  switch (durability) {
    case ApiDurability.UNSPECIFIED:
      return undefined;
    case ApiDurability.WRITTEN:
      return 'written';
    case ApiDurability.SYNCED:
      return 'synced';
    default:
      throw invalidField('topic.durability', 'there is no such durability');
  }
}

export function fromTopic({ config, partitions }: TopicInfo): MessageInitShape<typeof TopicSchema> {
  const { retention, backlogLimit } = config;
  return {
    name: config.name,
    partitionCount: config.partitionCount,
    retention: {
      ...(retention.maxAgeMs === 0 ? {} : { maxAge: toDuration(retention.maxAgeMs) }),
      maxBytes: BigInt(retention.maxBytes),
      untilAcknowledged: retention.untilAcknowledged,
      dropUnacknowledged: retention.dropUnacknowledged,
    },
    backlogLimit: {
      maxBytes: BigInt(backlogLimit.maxBytes),
      maxMessages: BigInt(backlogLimit.maxMessages),
      whenFull: backlogLimit.whenFull === 'block' ? WhenFull.BLOCK : WhenFull.REJECT,
    },
    durability:
      config.durability === undefined ? ApiDurability.UNSPECIFIED : apiDurability[config.durability],
    createTime: toTimestamp(config.createTimeMs),
    partitions: partitions.map(({ partition, firstOffset, nextOffset, bytes }) => ({
      partition,
      firstOffset: BigInt(firstOffset),
      nextOffset: BigInt(nextOffset),
      bytes: BigInt(bytes),
    })),
  };
}

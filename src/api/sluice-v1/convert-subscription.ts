import type { MessageInitShape } from '@bufbuild/protobuf';
import type { DeadLetterPolicy, Ordering, SubscriptionConfig } from '../../base/model.js';
import type { SubscriptionChange, SubscriptionInfo } from '../../broker/types.js';
import {
  type DeadLetterPolicy as ApiDeadLetterPolicy,
  Ordering as ApiOrdering,
  type RetryPolicy,
  type Subscription,
  type SubscriptionSchema,
  type UpdateSubscriptionRequest,
} from '../../gen/sluice/v1/admin_pb.js';
import { toDuration } from '../duration.js';
import { invalidMask, toUpdatePaths } from './convert-mask.js';
import { checkName, invalidField, toMs, toTimestamp } from './convert-values.js';

/** Ignores creation time and statistics in the request: they belong to the broker. */
export function toSubscription(
  subscription: Subscription | undefined,
): Omit<SubscriptionConfig, 'createTimeMs'> {
  if (subscription === undefined) throw invalidField('subscription', 'is missing');
  return {
    topic: checkName(subscription.topic, 'subscription.topic'),
    name: checkName(subscription.name, 'subscription.name'),
    ordering: toOrdering(subscription.ordering) ?? 'partition',
    ackDeadlineMs: toAckDeadlineMs(subscription),
    ...toBackoff(subscription.retry),
    deadLetter: toDeadLetter(subscription.deadLetter),
  };
}

const updatable = ['ack_deadline', 'retry', 'dead_letter'] as const;

/**
 * `currentOrdering`: a message that was read, changed and sent back contains the ordering, which is not a change.
 */
export function toSubscriptionChange(
  { subscription, updateMask }: UpdateSubscriptionRequest,
  currentOrdering: (topic: string, name: string) => Ordering,
): { readonly topic: string; readonly name: string; readonly change: SubscriptionChange } {
  if (subscription === undefined) throw invalidField('subscription', 'is missing');
  const topic = checkName(subscription.topic, 'subscription.topic');
  const name = checkName(subscription.name, 'subscription.name');
  const ordering = toOrdering(subscription.ordering);
  const hasMask = (updateMask?.paths.length ?? 0) > 0;
  if (!hasMask && ordering !== undefined && ordering !== currentOrdering(topic, name)) {
    throw invalidMask('ordering', updatable);
  }
  const isSet = {
    ack_deadline: subscription.ackDeadline !== undefined,
    retry: subscription.retry !== undefined,
    dead_letter: subscription.deadLetter !== undefined,
  };
  const paths = toUpdatePaths(updateMask, updatable, (path) => isSet[path]);
  const change: SubscriptionChange = {
    ...(paths.has('ack_deadline') ? { ackDeadlineMs: toAckDeadlineMs(subscription) } : {}),
    ...(paths.has('retry') ? toBackoff(subscription.retry) : {}),
    ...(paths.has('dead_letter') ? { deadLetter: toDeadLetter(subscription.deadLetter) } : {}),
  };
  return { topic, name, change };
}

const orderings: ReadonlyMap<ApiOrdering, Ordering> = new Map([
  [ApiOrdering.PARTITION, 'partition'],
  [ApiOrdering.KEY, 'key'],
  [ApiOrdering.NONE, 'none'],
]);

const apiOrdering: Readonly<Record<Ordering, ApiOrdering>> = {
  partition: ApiOrdering.PARTITION,
  key: ApiOrdering.KEY,
  none: ApiOrdering.NONE,
};

function toOrdering(ordering: ApiOrdering): Ordering | undefined {
  if (ordering === ApiOrdering.UNSPECIFIED) return undefined;
  const known = orderings.get(ordering);
  if (known === undefined) throw invalidField('subscription.ordering', `there is no ordering ${ordering}`);
  return known;
}

/** 0, the default, stays 0. */
function toAckDeadlineMs({ ackDeadline }: Subscription): number {
  return toMs(ackDeadline, 'subscription.ack_deadline');
}

function toBackoff(retry: RetryPolicy | undefined): { minBackoffMs: number; maxBackoffMs: number } {
  return {
    minBackoffMs: toMs(retry?.minBackoff, 'subscription.retry.min_backoff'),
    maxBackoffMs: toMs(retry?.maxBackoff, 'subscription.retry.max_backoff'),
  };
}

function toDeadLetter(policy: ApiDeadLetterPolicy | undefined): DeadLetterPolicy {
  const topic = policy?.topic ?? '';
  if (topic !== '') checkName(topic, 'subscription.dead_letter.topic');
  return { maxAttempts: policy?.maxAttempts ?? 0, topic, isDisabled: policy?.disabled ?? false };
}

export function fromSubscription({
  config,
  partitions,
}: SubscriptionInfo): MessageInitShape<typeof SubscriptionSchema> {
  const { ackDeadlineMs, minBackoffMs, maxBackoffMs, deadLetter } = config;
  return {
    topic: config.topic,
    name: config.name,
    ordering: apiOrdering[config.ordering],
    ...(ackDeadlineMs === 0 ? {} : { ackDeadline: toDuration(ackDeadlineMs) }),
    retry: {
      ...(minBackoffMs === 0 ? {} : { minBackoff: toDuration(minBackoffMs) }),
      ...(maxBackoffMs === 0 ? {} : { maxBackoff: toDuration(maxBackoffMs) }),
    },
    deadLetter: {
      maxAttempts: deadLetter.maxAttempts,
      topic: deadLetter.topic,
      disabled: deadLetter.isDisabled,
    },
    createTime: toTimestamp(config.createTimeMs),
    partitions: partitions.map((partition) => ({
      partition: partition.partition,
      acknowledgedOffset: BigInt(partition.acknowledgedOffset),
      backlogMessageCount: BigInt(partition.backlogMessageCount),
      outstandingMessageCount: BigInt(partition.outstandingMessageCount),
      deadLetterCount: BigInt(partition.deadLetterCount),
      sessionId: partition.sessionId ?? '',
    })),
  };
}

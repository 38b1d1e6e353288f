import type { DescMessage } from '@bufbuild/protobuf';
import type { ErrorSubject } from '../../base/errors.js';

/** The fields that a subject can be, over all methods. The first one that a request has is meant. */
const fields: Readonly<Record<Extract<ErrorSubject, string>, readonly string[]>> = {
  topic: ['topic.name', 'subscription.topic', 'subscribe.topic', 'topic', 'name'],
  partition: ['partition'],
  partitionCount: ['topic.partition_count'],
  retentionAge: ['topic.retention.max_age'],
  retentionBytes: ['topic.retention.max_bytes'],
  backlogBytes: ['topic.backlog_limit.max_bytes'],
  backlogMessages: ['topic.backlog_limit.max_messages'],
  ackDeadline: ['subscription.ack_deadline'],
  backoff: ['subscription.retry'],
  minBackoff: ['subscription.retry.min_backoff'],
  maxBackoff: ['subscription.retry.max_backoff'],
  maxAttempts: ['subscription.dead_letter.max_attempts'],
  // A consumer that creates a subscription names no dead-letter topic: it follows from the name of the subscription.
  deadLetterTopic: ['subscription.dead_letter.topic', 'subscribe.subscription', 'subscription'],
  consumerId: ['consumer_id', 'subscribe.consumer_id'],
  position: ['start', 'subscribe.start', 'position'],
  limit: ['limit'],
  redriveRate: ['rate'],
  creditMessages: ['flow_control.max_outstanding_messages'],
  creditBytes: ['flow_control.max_outstanding_bytes'],
  epoch: ['producer.epoch'],
  firstSequence: ['producer.first_sequence'],
  pageToken: ['page_token'],
};

const settlementFields = {
  partition: 'offsets.partition',
  offsets: 'offsets',
  extension: 'extend.by',
  delay: 'nack.delay',
  nackReason: 'nack.reason',
  deadLetterReason: 'dead_letter.reason',
} as const;

/** The path of the field of this request that says what the broker found at fault; undefined if it has none. */
export function fieldOf(subject: ErrorSubject, request: DescMessage): string | undefined {
  if (typeof subject === 'string') return fields[subject].find((path) => hasField(request, path));
  const part = settlementFields[subject.part];
  return hasField(request, `settlements.${part}`) ? `settlements[${subject.settlement}].${part}` : undefined;
}

function hasField(request: DescMessage, path: string): boolean {
  let message: DescMessage | undefined = request;
  for (const name of path.split('.')) {
    const field: DescMessage['fields'][number] | undefined = message?.fields.find(
      (each) => each.name === name,
    );
    if (field === undefined) return false;
    message = field.message;
  }
  return true;
}

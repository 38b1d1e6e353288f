import type { ErrorSubject } from '../../base/errors.js';

const fields = {
  topic: 'topic',
  partition: 'partition',
  partitionCount: 'topic.partition_count',
  deadLetterTopic: 'subscription.dead_letter.topic',
  epoch: 'producer.epoch',
  firstSequence: 'producer.first_sequence',
  pageToken: 'page_token',
} as const;

const settlementFields = {
  partition: 'offsets.partition',
  offsets: 'offsets',
  extension: 'extend.by',
  delay: 'nack.delay',
} as const;

/** The path of the request field that says what the broker found at fault. */
export function fieldOf(subject: ErrorSubject): string {
  if (typeof subject === 'string') return fields[subject];
  return `settlements[${subject.settlement}].${settlementFields[subject.part]}`;
}

import { limits } from '../../base/limits.js';
import type { SubscriptionConfig } from '../../base/model.js';
import type { Credit } from '../../core/types.js';
import { expectMs, expectWhole, invalid } from '../checks.js';

/** Throws INVALID_FIELD. A value of 0 stands for the default. */
export function checkDeliverySettings(
  config: Pick<SubscriptionConfig, 'ackDeadlineMs' | 'minBackoffMs' | 'maxBackoffMs' | 'deadLetter'>,
): void {
  const { ackDeadlineMs, minBackoffMs, maxBackoffMs, deadLetter } = config;
  if (ackDeadlineMs !== 0) {
    expectMs(
      ackDeadlineMs,
      'ackDeadline',
      'the ack deadline',
      limits.minAckDeadlineMs,
      limits.maxAckDeadlineMs,
    );
  }
  expectMs(minBackoffMs, 'minBackoff', 'the first backoff', 0, limits.maxBackoffMs);
  expectMs(maxBackoffMs, 'maxBackoff', 'the longest backoff', 0, limits.maxBackoffMs);
  const firstMs = minBackoffMs || limits.defaultMinBackoffMs;
  const longestMs = maxBackoffMs || limits.defaultMaxBackoffMs;
  if (firstMs > longestMs) {
    throw invalid('backoff', `a backoff can't grow from ${firstMs} ms to ${longestMs} ms`);
  }
  expectWhole(deadLetter.maxAttempts, 'maxAttempts', 'the limit of attempts', 0, limits.maxAttempts);
}

/** Throws INVALID_FIELD. The broker keeps the id of each consumer in memory, and shows it. */
export function checkConsumerId(consumerId: string): void {
  if (consumerId.length <= limits.maxConsumerIdLength) return;
  throw invalid(
    'consumerId',
    `the id of a consumer has at most ${limits.maxConsumerIdLength} characters, not ${consumerId.length}`,
  );
}

/** Throws INVALID_FIELD. A credit may be unlimited: Infinity. */
export function checkCredit({ messages = 0, bytes = 0 }: Partial<Credit>): void {
  if (messages !== Number.POSITIVE_INFINITY) {
    expectWhole(messages, 'creditMessages', 'the credit of messages');
  }
  if (bytes !== Number.POSITIVE_INFINITY) expectWhole(bytes, 'creditBytes', 'the credit of bytes');
}

import { createHash } from 'node:crypto';
import { limits } from '../../base/limits.js';
import type { SubscriptionConfig } from '../../base/model.js';

/** The part of a subscription that determines where its dead letters go. */
export type DeadLetterRoute = Pick<SubscriptionConfig, 'topic' | 'name' | 'deadLetter'>;

const suffix = '.dead-letter';
const digestLength = 16;

/** The topic of the dead letters of a subscription: the configured one, or a default that is always a valid name. */
export function deadLetterTopicName(route: DeadLetterRoute): string {
  const name = unlimitedName(route);
  if (name.length <= limits.maxNameLength) return name;
  // No name contains a slash, so different subscriptions have different digests.
  const digest = createHash('sha256')
    .update(`${route.topic}/${route.name}`)
    .digest('hex')
    .slice(0, digestLength);
  const headLength = limits.maxNameLength - suffix.length - digestLength - 1;
  return `${name.slice(0, headLength)}.${digest}${suffix}`;
}

/** Finds the topic that dead letters of the subscription go to; undefined if it does not exist yet. */
export function findDeadLetterTopic<T>(
  topics: { find(name: string): T | undefined },
  route: DeadLetterRoute,
): T | undefined {
  // Earlier versions created topics with longer names. Their subscriptions keep them.
  return topics.find(unlimitedName(route)) ?? topics.find(deadLetterTopicName(route));
}

function unlimitedName({ topic, name, deadLetter }: DeadLetterRoute): string {
  return deadLetter.topic || `${topic}.${name}${suffix}`;
}

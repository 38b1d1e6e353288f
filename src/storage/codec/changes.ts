import type { Append } from './append.js';
import type { ChangeTarget } from './change-target.js';
import type { CursorUpdate } from './cursor.js';
import {
  type DeadLetterAddition,
  type DeadLetterRemoval,
  writeDeadLetter,
  writeDeadLetterRemoval,
} from './dead-letter.js';
import { type ProducerUpdate, writeProducer } from './producer.js';
import { type RedriveUpdate, writeRedrive } from './redrive.js';
import {
  type SubscriptionDeletion,
  type SubscriptionPut,
  writeSubscription,
  writeSubscriptionDeletion,
} from './subscription.js';
import { type TopicDeletion, type TopicPut, writeTopic, writeTopicDeletion } from './topic.js';

/**
 * What a transaction can change. A new kind of record is a file beside this one, with its type, its encoding and
 * its writer, and one line in each of the two lists below.
 */
export type Change =
  | Append
  | ProducerUpdate
  | CursorUpdate
  | DeadLetterAddition
  | DeadLetterRemoval
  | RedriveUpdate
  | TopicPut
  | TopicDeletion
  | SubscriptionPut
  | SubscriptionDeletion;

export type ChangeKind = Change['kind'];

type ChangeWriters = {
  readonly [K in ChangeKind]: (change: Extract<Change, { kind: K }>, target: ChangeTarget) => void;
};

const writers: ChangeWriters = {
  append: (append, target) => target.append(append),
  producer: writeProducer,
  cursor: (update, target) => target.cursor(update),
  'dead-letter': writeDeadLetter,
  'remove-dead-letters': writeDeadLetterRemoval,
  redrive: writeRedrive,
  topic: writeTopic,
  'delete-topic': writeTopicDeletion,
  subscription: writeSubscription,
  'delete-subscription': writeSubscriptionDeletion,
};

/** Adds a change to a round. */
export function writeChange(change: Change, target: ChangeTarget): void {
  const write = writers[change.kind] as (change: Change, target: ChangeTarget) => void;
  write(change, target);
}

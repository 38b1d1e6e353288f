import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { Interval } from '../../base/positions.js';
import { DeadLetterRecordSchema } from '../../gen/sluice/storage/v1/records_pb.js';
import { cursorsColumn } from '../engine/columns.js';
import { deadLetterKey, deadLetterRange } from '../engine/keys.js';
import type { ChangeTarget } from './change-target.js';

/**
 * A note that a subscription dead-lettered a message. Kept until a seek to before the message, or until the
 * subscription is deleted.
 */
export interface DeadLetterNote {
  readonly subscriptionId: number;
  readonly partition: number;
  readonly offset: number;
  readonly attempts: number;
}

export interface DeadLetterAddition extends DeadLetterNote {
  readonly kind: 'dead-letter';
}

/** Removes the notes of these messages. */
export interface DeadLetterRemoval extends Interval {
  readonly kind: 'remove-dead-letters';
  readonly subscriptionId: number;
  readonly partition: number;
}

export function writeDeadLetter(note: DeadLetterAddition, target: ChangeTarget): void {
  const key = deadLetterKey(note.subscriptionId, note.partition, note.offset);
  target.put(cursorsColumn, key, encodeDeadLetter(note));
}

/**
 * The notes are removed before the cursor moves back: a kill between the two leaves messages settled that were
 * dead-lettered, and a seek without an answer. In the other order, messages that are pending again would have notes.
 */
export function writeDeadLetterRemoval(removal: DeadLetterRemoval, target: ChangeTarget): void {
  const { subscriptionId, partition, first, last } = removal;
  target.clearFirst(cursorsColumn, deadLetterRange(subscriptionId, partition, first, last));
}

export function encodeDeadLetter({ attempts }: Pick<DeadLetterNote, 'attempts'>): Uint8Array {
  return toBinary(DeadLetterRecordSchema, create(DeadLetterRecordSchema, { attempts }));
}

export function decodeDeadLetter(bytes: Uint8Array): Pick<DeadLetterNote, 'attempts'> {
  return { attempts: fromBinary(DeadLetterRecordSchema, bytes).attempts };
}

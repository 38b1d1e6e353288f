import { cursorsColumn } from '../engine/columns.js';
import { redriveKey } from '../engine/keys.js';
import type { ChangeTarget } from './change-target.js';
import { decodeCursor, encodeCursor } from './cursor.js';

/** How far a subscription's dead letters have been sent back. Kept until the subscription is deleted. */
export interface RedriveUpdate {
  readonly kind: 'redrive';
  readonly subscriptionId: number;
  readonly deadLetterTopicId: number;
  /** The partition of the dead-letter topic. */
  readonly partition: number;
  /** All dead letters of the subscription below this offset have been sent back. */
  readonly offset: number;
}

export function writeRedrive(update: RedriveUpdate, target: ChangeTarget): void {
  const { subscriptionId, deadLetterTopicId, partition, offset } = update;
  target.put(cursorsColumn, redriveKey(subscriptionId, deadLetterTopicId, partition), encodeRedrive(offset));
}

/** The progress of a redrive is stored as the cursor of a subscription that settles everything in order. */
export function encodeRedrive(offset: number): Buffer {
  return encodeCursor({ acknowledgedOffset: offset, settled: [], failed: [], deadLetterCount: 0 });
}

export function decodeRedrive(bytes: Uint8Array): number {
  return decodeCursor(bytes).acknowledgedOffset;
}

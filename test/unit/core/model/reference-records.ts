import type { Credit, Outcome, PartitionInterval } from '../../../../src/core/types.js';

/** What the reference knows of one message. Slow and plain on purpose: its rules can be read off delivery.md. */
export interface ReferenceMessage {
  readonly partition: number;
  readonly offset: number;
  readonly bytes: number;
  /** 0: no key. */
  readonly key: number;
  /** For another subscription only. */
  readonly isTargetedElsewhere: boolean;
  state: 'pending' | 'held' | 'deadLettering' | 'settled';
  attempts: number;
  retryAtMs: number;
  /** While the message is being dead-lettered, also when a seek has passed it by. */
  deadLetterAttempts: number;
  holder: string;
  deliveryId: number;
  deadlineMs: number;
  isSent: boolean;
  /** How often it was taken back from a transport since a consumer last got it. */
  takeBackCount: number;
  /** A note says that it was dead-lettered. A seek removes it. */
  hasNote: boolean;
  /** A stream broke while this one and others were at work. */
  isInOneBreak: boolean;
  /** That has happened twice. */
  isSuspect: boolean;
}

/** What the reference knows of a session. */
export interface ReferenceSession {
  credit: Credit;
  isPaused: boolean;
  hasSettled: boolean;
  /** A lease of it has lapsed, and it has said nothing since. */
  isSilent: boolean;
  silentUntilMs: number;
  silenceCount: number;
  /** Its transport takes nothing, and other sessions get its messages. */
  isStuck: boolean;
  /** Its transport has taken something since. */
  hasMoved: boolean;
  lastLeftAtMs: number;
}

/** A delivery that has not left for the transport. */
export interface ReferenceDelivery {
  readonly sessionId: string;
  readonly leasedAtMs: number;
  /** The largest of its messages. */
  takeBackCount: number;
  isTakenBack: boolean;
}

/** Why a message must not pass another one that it is ordered with; undefined when it may. */
export function orderObjection(
  message: ReferenceMessage,
  other: ReferenceMessage,
  sessionId: string,
): string | undefined {
  if (other.state === 'held' && other.holder !== sessionId) return `${other.holder} is at ${other.offset}`;
  if (other.state === 'pending' && other.offset < message.offset) return `${other.offset} comes first`;
  if (other.state === 'held' && other.offset > message.offset) return `${other.offset} is already out`;
  return undefined;
}

/** It is settled already, as this outcome would have it, or is being dead-lettered, which this outcome agrees with. */
export function hasSameOutcome({ state, hasNote }: ReferenceMessage, { kind }: Outcome): boolean {
  if (state === 'deadLettering') return kind === 'nack' || kind === 'deadLetter';
  return state === 'settled' && kind !== 'extend' && (kind === 'ack') !== hasNote;
}

/** Merged, in order, each offset once. */
export function intervalsOf(messages: readonly ReferenceMessage[]): PartitionInterval[] {
  const intervals: (PartitionInterval & { last: number })[] = [];
  const ordered = [...new Set(messages)].sort((a, b) => a.partition - b.partition || a.offset - b.offset);
  for (const { partition, offset } of ordered) {
    const previous = intervals.at(-1);
    if (previous?.partition === partition && previous.last === offset - 1) previous.last = offset;
    else intervals.push({ partition, first: offset, last: offset });
  }
  return intervals;
}

export function isPaused({ messages, bytes }: Credit): boolean {
  return messages <= 0 || bytes <= 0;
}

export function bytesOf(messages: readonly ReferenceMessage[]): number {
  return messages.reduce((sum, { bytes }) => sum + bytes, 0);
}

import type { Ordering } from '../base/model.js';
import type { CursorState, Interval } from '../base/positions.js';

/** How a subscription delivers: its configuration with all defaults filled in. */
export interface DeliveryPolicy {
  readonly ordering: Ordering;
  readonly ackDeadlineMs: number;
  readonly minBackoffMs: number;
  readonly maxBackoffMs: number;
  /** Failed deliveries before a message is dead-lettered; Infinity: retry for ever. */
  readonly maxAttempts: number;
}

/**
 * How a session ends:
 * - `left`: by agreement (its consumer closed its half of the stream), or the broker ended it. Nothing has failed.
 * - `cancelled`: its client cancelled the call, and the connection lives. Nothing has failed if the session had settled
 *   nothing; otherwise as `broke`.
 * - `broke`: its connection is lost. What it was working on may be what the consumer died of.
 */
export type SessionEnd = 'left' | 'cancelled' | 'broke';

/** The most that may be outstanding in a session. */
export interface Credit {
  readonly messages: number;
  readonly bytes: number;
}

export type Outcome =
  | { readonly kind: 'ack' }
  /** `delayMs` absent: the subscription's backoff. `reason`: for the dead letter, if this was the last attempt. */
  | { readonly kind: 'nack'; readonly delayMs?: number; readonly reason?: string }
  | { readonly kind: 'extend'; readonly byMs: number }
  | { readonly kind: 'deadLetter'; readonly reason: string };

export interface Settlement extends Interval {
  readonly partition: number;
  readonly outcome: Outcome;
}

export interface PartitionInterval extends Interval {
  readonly partition: number;
}

export interface SettleResult {
  /** Messages that were outstanding in the session and are not any more (extended ones are not counted). */
  readonly settledCount: number;
  /**
   * Asked for, and not changed: not outstanding in the session and not settled, or settled with another outcome.
   * Ascending, merged.
   */
  readonly stale: readonly PartitionInterval[];
  /** Absent when there are none. */
  readonly settledBefore?: readonly SettledBefore[];
}

/**
 * Asked for, and settled before, in a partition with dead letters. Only the notes of the dead letters tell whether the
 * outcome was the same: it was not, where they name what is acknowledged, or do not name what is nacked or
 * dead-lettered.
 */
export interface SettledBefore extends PartitionInterval {
  readonly outcome: 'ack' | 'nack' | 'deadLetter';
}

/** A message on its way to the dead-letter topic. It is delivered to nobody; the cursor waits for `deadLettered`. */
export interface DeadLetterRequest {
  readonly partition: number;
  readonly offset: number;
  /** Failed deliveries, for the header. */
  readonly attempts: number;
  readonly reason: string;
}

/** What the runtime has to do after one or more commands. Lists are empty when there is nothing. */
export interface Effects {
  /** Partitions whose cursor changed and must be committed. */
  readonly dirtyPartitions: readonly number[];
  readonly deadLetterRequests: readonly DeadLetterRequest[];
  /** Sessions whose set of partitions changed, with all that they have now. */
  readonly assignments: readonly { readonly sessionId: string; readonly partitions: readonly number[] }[];
  /**
   * What was taken back from sessions that are still open, otherwise than by their own settlements: ascending, merged.
   * They are to hear of it before anything of it is delivered again.
   */
  readonly revocations: readonly {
    readonly sessionId: string;
    readonly offsets: readonly PartitionInterval[];
  }[];
  /**
   * Sessions that may now be able to receive: each is to call `nextFetch` as soon as its transport has room. Where
   * sessions share partitions, no more of them are named than there is work for, and one that waited is not named
   * again before it has asked. What one leaves makes another ready: so `nextFetch`, `lease` and `abandon` have this
   * effect too, and no other, except that `lease` may leave a partition dirty.
   */
  readonly ready: readonly string[];
}

/** Where to read next for a session. Exactly one `lease` or `abandon` must follow. */
export interface Fetch {
  readonly kind: 'fetch';
  readonly partition: number;
  readonly offset: number;
  /** Tells a read that was overtaken (by a seek, a revocation, an unassignment) from a current one. */
  readonly epoch: number;
}

/** Why a session receives nothing. The names are those of the API's WaitReason. */
export interface Wait {
  readonly kind: 'wait';
  readonly reason: 'caughtUp' | 'messageCredit' | 'byteCredit' | 'backoff' | 'notAssigned' | 'reading';
}

/** Messages that were read: `ends` as in a stored run. */
export interface ReadRun {
  readonly firstOffset: number;
  readonly count: number;
  readonly ends: Uint32Array;
  /** Of each message, as `orderingKey` in routing.ts makes it: 0 for none. Read in ordering 'key' only. */
  readonly orderingKeys?: Uint32Array;
  /**
   * A redrive targeted these messages to another subscription: they are settled without being delivered. Only their
   * offsets are used.
   */
  readonly isTargetedElsewhere?: boolean;
}

/** Messages of one read run that are now leased, and go out together. */
export interface LeasedRun {
  /** Index into the runs that were offered. */
  readonly run: number;
  /** Messages `from` up to but not including `to` of that run. */
  readonly from: number;
  readonly to: number;
  /** 1 on the first delivery. */
  readonly attempt: number;
}

export interface Delivery {
  /** For `sent`. */
  readonly deliveryId: number;
  readonly runs: readonly LeasedRun[];
}

export type MessageState =
  | { readonly kind: 'pending'; readonly failedAttempts: number }
  | { readonly kind: 'processing'; readonly failedAttempts: number; readonly sessionId: string }
  | { readonly kind: 'done' }
  /** On its way to the dead-letter topic. Afterwards it is `done` here, and a message there. */
  | { readonly kind: 'failed'; readonly failedAttempts: number };

export interface PartitionStatus {
  readonly acknowledgedOffset: number;
  readonly backlogMessageCount: number;
  readonly outstandingMessageCount: number;
  readonly deadLetterCount: number;
  /** The session that has the partition; undefined when nobody has. */
  readonly sessionId: string | undefined;
}

export interface SessionStatus {
  readonly credit: Credit;
  readonly outstandingMessageCount: number;
  readonly outstandingBytes: number;
  readonly partitions: readonly number[];
}

/**
 * The state machine of one subscription: which session gets which message, and what becomes of the message. Pure:
 * time comes in, decisions come out; no I/O, no clock, no promises. Created by `createSubscriptionState`.
 *
 * Every command takes effect at once. The runtime collects the consequences with `takeEffects` (it may do so
 * after several commands), commits dirty cursors, and answers callers when the commit is durable.
 */
export interface SubscriptionState {
  /** Changes the policy from now on; `ordering` can't change. */
  setPolicy(policy: DeliveryPolicy): void;

  /** A partition joins (at start, or when a topic grows). `endOffset`: one past the last committed message. */
  addPartition(partition: number, cursor: CursorState, endOffset: number): void;
  /** The log has grown. */
  setEnd(partition: number, endOffset: number): void;
  /** Retention dropped everything below: it counts as settled. */
  setFirst(partition: number, firstOffset: number): void;
  cursor(partition: number): CursorState;

  openSession(sessionId: string, credit: Credit, nowMs: number): void;
  /** Frees what the session held, at once. Unknown ids are ignored. */
  closeSession(sessionId: string, end: SessionEnd, nowMs: number): void;
  setCredit(sessionId: string, credit: Credit): void;

  /** What the session may read next, or why nothing. Round robin over its partitions. */
  nextFetch(sessionId: string, nowMs: number): Fetch | Wait;
  /**
   * The transport of the session has no room, so it does not ask for what it may have been called ready for: another
   * one may be called ready in its place. It asks again when there is room.
   */
  decline(sessionId: string): void;
  /**
   * Leases what credit allows of the runs that were read for `fetch`; undefined when nothing is left to lease or
   * the fetch was overtaken. A lease has no deadline until `sent`. Afterwards the session asks `nextFetch` again.
   * Runs that are targeted to another subscription move the cursor: its partition becomes dirty.
   */
  lease(sessionId: string, fetch: Fetch, runs: readonly ReadRun[], nowMs: number): Delivery | undefined;
  /** The read for `fetch` came to nothing. The session asks again when it sees fit: it is not called ready. */
  abandon(sessionId: string, fetch: Fetch): void;
  /** The bytes of a delivery have left for the transport: its deadlines start now. */
  sent(deliveryId: number, nowMs: number): void;

  /**
   * `lastDeliveryId`: the last delivery that the consumer knew of. What was delivered later is not touched, and is
   * stale: a settlement that arrives late never settles a redelivery.
   */
  settle(
    sessionId: string,
    settlements: readonly Settlement[],
    nowMs: number,
    lastDeliveryId?: number,
  ): SettleResult;
  /** The dead letter is in the same commit as this cursor: the message is settled. */
  deadLettered(partition: number, offset: number): void;
  /** The message could not be dead-lettered (it is damaged or gone, for example): it is pending again. */
  deadLetterFailed(partition: number, offset: number, nowMs: number): void;

  /**
   * Moves the cursor of a partition; everything outstanding in it is revoked, attempts are forgotten. Returns the
   * offsets that begin anew: earlier dead letters of them are not their outcome any more.
   */
  seek(partition: number, offset: number, nowMs: number): readonly Interval[];

  /** When `wake` wants to be called; Infinity: not at all. Any command may change it. */
  readonly wakeAtMs: number;
  /** Ends leases and backoffs that are due. */
  wake(nowMs: number): void;

  takeEffects(): Effects;

  status(partition: number, offset: number): MessageState;
  partitionStatus(partition: number): PartitionStatus;
  sessionStatus(sessionId: string): SessionStatus | undefined;
  readonly sessionIds: readonly string[];
}

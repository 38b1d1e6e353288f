import type { Ordering } from '../base/model.js';
import type { CursorState, Interval } from '../base/positions.js';

/** How a subscription delivers: its configuration with all defaults filled in. */
export interface DeliveryPolicy {
  readonly ordering: Ordering;
  readonly ackDeadlineMs: number;
  readonly minBackoffMs: number;
  readonly maxBackoffMs: number;
  /** Failed deliveries before a message is dead-lettered; Infinity: never. */
  readonly maxAttempts: number;
}

/**
 * How a session ends:
 * - `left`: by agreement (its consumer closed its half of the stream), or the broker ended it. Nothing has failed.
 * - `cancelled`: the client cancelled the call on a live connection. Nothing has failed if the session has settled
 *   nothing; otherwise the same as `broke`.
 * - `broke`: the connection was lost. A message that the consumer was working on may be the cause.
 */
export type SessionEnd = 'left' | 'cancelled' | 'broke';

/** The most that may be outstanding in a session. */
export interface Credit {
  readonly messages: number;
  readonly bytes: number;
}

export type Outcome =
  | { readonly kind: 'ack' }
  /**
   * Without `delayMs`: the subscription's backoff. `reason`: for the dead letter, if this was the last attempt.
   */
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
  /** Messages that were outstanding in the session and no longer are. Extended ones do not count. */
  readonly settledCount: number;
  /**
   * Requested messages that were not changed: not outstanding in the session and not settled, or settled with
   * another outcome. Ascending, merged.
   */
  readonly stale: readonly PartitionInterval[];
  /** Absent if there are none. */
  readonly settledBefore?: readonly SettledBefore[];
}

/**
 * A requested settlement of messages that were settled before, in a partition with dead letters. Only the
 * dead-letter notes show whether the outcome was the same. It was not if an acknowledged message has a note, or a
 * nacked or dead-lettered one has none.
 */
export interface SettledBefore extends PartitionInterval {
  readonly outcome: 'ack' | 'nack' | 'deadLetter';
}

/** A message that is being dead-lettered. No session gets it, and the cursor waits for `deadLettered`. */
export interface DeadLetterRequest {
  readonly partition: number;
  readonly offset: number;
  /** Failed deliveries, for the header of the dead letter. */
  readonly attempts: number;
  readonly reason: string;
}

/** What the runtime has to do after one or more commands. Lists may be empty. */
export interface Effects {
  /** Partitions whose cursor changed and must be committed. */
  readonly dirtyPartitions: readonly number[];
  readonly deadLetterRequests: readonly DeadLetterRequest[];
  /** Sessions whose set of partitions changed, with the complete new set. */
  readonly assignments: readonly { readonly sessionId: string; readonly partitions: readonly number[] }[];
  /**
   * Messages that were taken back from open sessions, except by their own settlements. Ascending, merged. The
   * consumers must be told before any of these messages is delivered again.
   */
  readonly revocations: readonly {
    readonly sessionId: string;
    readonly offsets: readonly PartitionInterval[];
  }[];
  /**
   * Sessions that may now be able to receive messages: call `nextFetch` for each as soon as its transport has
   * room. If sessions share partitions, no more sessions are named than there is work for, and a waiting session
   * is not named again before its next `nextFetch`. Messages that one session leaves make another one ready:
   * `nextFetch`, `lease` and `abandon` have this effect too. Apart from it, they have none, except that `lease`
   * may make a partition dirty.
   */
  readonly ready: readonly string[];
}

/** The next read for a session. Exactly one `lease` or `abandon` must follow. */
export interface Fetch {
  readonly kind: 'fetch';
  readonly partition: number;
  readonly offset: number;
  /** Distinguishes a current read from one that was overtaken by a seek, a revocation or an unassignment. */
  readonly epoch: number;
}

/** Why a session receives nothing. The names are those of the API's WaitReason. */
export interface Wait {
  readonly kind: 'wait';
  readonly reason: 'caughtUp' | 'messageCredit' | 'byteCredit' | 'backoff' | 'notAssigned' | 'reading';
}

/** Messages that were read. `ends` as in a stored run. */
export interface ReadRun {
  readonly firstOffset: number;
  readonly count: number;
  readonly ends: Uint32Array;
  /** The key of each message, as `orderingKey` in routing.ts computes it; 0 for none. Only for ordering 'key'. */
  readonly orderingKeys?: Uint32Array;
  /**
   * A redrive targeted these messages to another subscription: they are settled without being delivered. Only their
   * offsets are used.
   */
  readonly isTargetedElsewhere?: boolean;
}

/** Messages of one run that are now leased and go out together. */
export interface LeasedRun {
  /** Index into the runs that `lease` was called with. */
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
  /** Being dead-lettered. Afterwards the message is `done` here, and exists in the dead-letter topic. */
  | { readonly kind: 'failed'; readonly failedAttempts: number };

export interface PartitionStatus {
  readonly acknowledgedOffset: number;
  readonly backlogMessageCount: number;
  readonly outstandingMessageCount: number;
  readonly deadLetterCount: number;
  /** The session that has the partition to itself. */
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

  /** Adds a partition: at the start, or when a topic grows. `endOffset`: one past the last committed message. */
  addPartition(partition: number, cursor: CursorState, endOffset: number): void;
  /** The log has grown. */
  setEnd(partition: number, endOffset: number): void;
  /** Retention removed everything below `firstOffset`: it counts as settled. */
  setFirst(partition: number, firstOffset: number): void;
  cursor(partition: number): CursorState;

  openSession(sessionId: string, credit: Credit, nowMs: number): void;
  /** Frees what the session held, at once. Ignores unknown ids. */
  closeSession(sessionId: string, end: SessionEnd, nowMs: number): void;
  setCredit(sessionId: string, credit: Credit): void;

  /** The next read for the session, or why there is none. Round robin over its partitions. */
  nextFetch(sessionId: string, nowMs: number): Fetch | Wait;
  /**
   * The transport of the session has no room: another session may be called ready in its place. The session calls
   * `nextFetch` again when there is room.
   */
  decline(sessionId: string): void;
  /**
   * Leases messages of the runs that were read for `fetch`, as far as credit allows. Undefined if nothing is left
   * to lease, or if the fetch was overtaken. The deadlines of the leases start with `sent`. The session calls
   * `nextFetch` again afterwards. Targeted runs of other subscriptions move the cursor: the partition becomes
   * dirty.
   */
  lease(sessionId: string, fetch: Fetch, runs: readonly ReadRun[], nowMs: number): Delivery | undefined;
  /**
   * The read for `fetch` came to nothing. The session is not called ready: it calls `nextFetch` when it wants to.
   */
  abandon(sessionId: string, fetch: Fetch): void;
  /** The bytes of a delivery have left for the transport: its deadlines start now. */
  sent(deliveryId: number, nowMs: number): void;

  /**
   * `lastDeliveryId`: the last delivery that the consumer had read. Messages that were delivered later are not
   * settled, but reported as stale: a late settlement never settles a redelivery.
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
   * Moves the cursor of a partition. Revokes everything outstanding in it, and forgets attempts. Returns the
   * offsets that begin anew: earlier dead letters no longer count as their outcome.
   */
  seek(partition: number, offset: number, nowMs: number): readonly Interval[];

  /** When `wake` has to be called; Infinity: not at all. Any command may change it. */
  readonly wakeAtMs: number;
  /** Ends leases and backoffs that are due. */
  wake(nowMs: number): void;

  takeEffects(): Effects;

  status(partition: number, offset: number): MessageState;
  partitionStatus(partition: number): PartitionStatus;
  sessionStatus(sessionId: string): SessionStatus | undefined;
  readonly sessionIds: readonly string[];
}

/**
 * Topics and subscriptions as every layer knows them. The API's messages become these at the server's edge and
 * the store's records at the other; in between there is one form. Complete: defaults have been filled in.
 */

/** What a receipt promises: `written` survives a crash of the broker, `synced` a loss of power too. */
export type Durability = 'written' | 'synced';

export interface TopicConfig {
  readonly name: string;
  readonly partitionCount: number;
  readonly retention: RetentionPolicy;
  readonly backlogLimit: BacklogLimit;
  /** Undefined: the broker's default. */
  readonly durability: Durability | undefined;
  readonly createTimeMs: number;
}

export interface RetentionPolicy {
  /** 0: no limit by age. */
  readonly maxAgeMs: number;
  /** Per partition; 0: no limit by size. */
  readonly maxBytes: number;
  readonly untilAcknowledged: boolean;
  readonly dropUnacknowledged: boolean;
}

export interface BacklogLimit {
  /** Per partition; 0: no limit. */
  readonly maxBytes: number;
  readonly maxMessages: number;
  readonly whenFull: 'block' | 'reject';
}

export interface SubscriptionConfig {
  readonly topic: string;
  readonly name: string;
  readonly ordering: Ordering;
  /** 0: the broker's default, as it is when it is used. */
  readonly ackDeadlineMs: number;
  /** 0: the broker's default. */
  readonly minBackoffMs: number;
  readonly maxBackoffMs: number;
  readonly deadLetter: DeadLetterPolicy;
  readonly createTimeMs: number;
}

/** How the messages of one subscription relate to each other. */
export type Ordering = 'partition' | 'key' | 'none';

export interface DeadLetterPolicy {
  /** 0: the broker's default. */
  readonly maxAttempts: number;
  /** Empty: `<topic>.<subscription>.dead-letter`. */
  readonly topic: string;
  readonly isDisabled: boolean;
}

/** Where reading begins. */
export type StartPosition =
  | { readonly kind: 'earliest' }
  | { readonly kind: 'latest' }
  | { readonly kind: 'offset'; readonly offset: number }
  | { readonly kind: 'time'; readonly timeMs: number };

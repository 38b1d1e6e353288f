/**
 * Topics and subscriptions, in the one form that all layers use. The server converts the API's messages to it, and
 * the store its records. Complete: all defaults are filled in.
 */

/** The guarantee of a receipt: `written` survives a crash of the broker, `synced` also a loss of power. */
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
  /** 0: the broker's default at the time of use. */
  readonly ackDeadlineMs: number;
  /** 0: the broker's default. */
  readonly minBackoffMs: number;
  readonly maxBackoffMs: number;
  readonly deadLetter: DeadLetterPolicy;
  readonly createTimeMs: number;
}

/** The order in which messages of a subscription are delivered. */
export type Ordering = 'partition' | 'key' | 'none';

export interface DeadLetterPolicy {
  /** 0: the broker's default. */
  readonly maxAttempts: number;
  /** Empty: `<topic>.<subscription>.dead-letter`. */
  readonly topic: string;
  readonly isDisabled: boolean;
}

/** The position where reading begins. */
export type StartPosition =
  | { readonly kind: 'earliest' }
  | { readonly kind: 'latest' }
  | { readonly kind: 'offset'; readonly offset: number }
  | { readonly kind: 'time'; readonly timeMs: number };

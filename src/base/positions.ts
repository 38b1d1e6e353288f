/** Offsets of one partition, both ends included. Never empty: `first <= last`. */
export interface Interval {
  readonly first: number;
  readonly last: number;
}

/** A message that has failed and is not settled. */
export interface FailedMessage {
  readonly offset: number;
  /** Deliveries that failed, at least 1. */
  readonly attempts: number;
}

/** The state of a subscription in one partition that survives a restart. */
export interface CursorState {
  /** Every offset below is settled. */
  readonly acknowledgedOffset: number;
  /** Settled intervals above it: ascending, disjoint, never touching each other or `acknowledgedOffset`. */
  readonly settled: readonly Interval[];
  /** Ascending by offset. Settled messages are not in it. */
  readonly failed: readonly FailedMessage[];
  /** Messages that this subscription has dead-lettered in this partition. */
  readonly deadLetterCount: number;
}

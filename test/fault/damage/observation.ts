/** What a broker said of its store: plain data, so that two starts can be compared. */

/** A DATA_LOSS answer. The offsets are there where it is about messages. */
export interface Loss {
  readonly text: string;
  readonly partition?: number;
  readonly first?: number;
  readonly last?: number;
}

export type Answer<T> =
  | { readonly kind: 'said'; readonly value: T }
  | { readonly kind: 'lost'; readonly loss: Loss }
  /** Any other error. */
  | { readonly kind: 'failed'; readonly text: string };

export interface TopicAnswer {
  readonly config: string;
  readonly extents: readonly { readonly firstOffset: number; readonly nextOffset: number }[];
}

export interface SubscriptionAnswer {
  readonly config: string;
  readonly partitions: readonly { readonly backlog: number; readonly deadLetters: number }[];
}

export interface MessageAnswer {
  readonly digest: string;
  /** By subscription: state and failed attempts. */
  readonly statuses: Readonly<Record<string, string>>;
}

/** A read of one partition from an offset to its end, begun again behind each loss. */
export interface Reading {
  readonly topic: string;
  readonly partition: number;
  readonly from: number;
  readonly messages: readonly (readonly [offset: number, digest: string])[];
  readonly losses: readonly Loss[];
  /** Why it ended before the end of the log. */
  readonly failure?: string;
}

export interface Observation {
  readonly topicNames: Answer<readonly string[]>;
  readonly subscriptionNames: Answer<readonly string[]>;
  readonly topics: Readonly<Record<string, Answer<TopicAnswer>>>;
  readonly subscriptions: Readonly<Record<string, Answer<SubscriptionAnswer>>>;
  readonly producers: Readonly<
    Record<string, Answer<{ readonly epoch: number; readonly lastSequence: number }>>
  >;
  /** By `topic/partition/offset`. */
  readonly messages: Readonly<Record<string, Answer<MessageAnswer>>>;
  /** How many dead letters a dry redrive finds, by subscription. */
  readonly redrives: Readonly<Record<string, Answer<number>>>;
  readonly readings: readonly Reading[];
}

export interface Delivery {
  readonly partition: number;
  readonly offset: number;
  readonly digest: string;
  readonly attempt: number;
}

/** What a subscription delivered until nothing was left. */
export interface Drained {
  readonly subscription: string;
  readonly deliveries: readonly Delivery[];
  readonly losses: readonly Loss[];
  readonly failure?: string;
}

/** How one life of a broker on the damaged store went. */
export type Life =
  | { readonly kind: 'served'; readonly observation: Observation; readonly drained?: readonly Drained[] }
  /** It refused to start, or ended by itself while it served, with a reason that names what is wrong. */
  | { readonly kind: 'refused'; readonly reason: string; readonly text: string }
  /** It ended without such a reason, by a signal, or with success. */
  | { readonly kind: 'died'; readonly text: string }
  | { readonly kind: 'hung'; readonly text: string };

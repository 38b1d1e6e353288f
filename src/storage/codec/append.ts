/** Messages for one partition, as published: they get consecutive offsets, in this order. */
export interface Append {
  readonly kind: 'append';
  readonly topicId: number;
  readonly partition: number;
  /** Empty for an anonymous producer. */
  readonly producerId: string;
  /** The only subscription that gets the messages; absent or 0: all subscriptions. */
  readonly targetSubscriptionId?: number;
  /** Encoded `messages` fields (number 15, with tag and length). Each chunk contains one or more whole fields. */
  readonly chunks: readonly Uint8Array[];
  /** Messages in all chunks together, at least 1. */
  readonly count: number;
  /** Bytes of all chunks together. */
  readonly byteLength: number;
}

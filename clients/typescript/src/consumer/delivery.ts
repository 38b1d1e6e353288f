import type { Timestamp } from '@bufbuild/protobuf/wkt';

/** What a failed message comes with. */
export interface NackOptions {
  /** When it comes again. Default: by the backoff of the subscription. */
  readonly delayMs?: number;
  /** For people; longer ones are cut at 1,000 characters. */
  readonly reason?: string;
}

/**
 * A message that is leased to this consumer until it is settled: the first of `ack`, `nack` and `deadLetter` counts.
 *
 * Each of them acts at once, in the background. Their promises are for those who want to know: true once the broker has
 * made it durable; false where that is not so, because the lease was over, the message was settled before, or the
 * stream broke before the answer. What was not acknowledged comes again.
 */
export interface Delivery {
  /** That of the subscription. */
  readonly topic: string;
  /** Of the topic, from 0. */
  readonly partition: number;
  /** Its number in the partition, from 0. */
  readonly offset: bigint;
  /** 1 on the first delivery; one more with each that failed. */
  readonly attempt: number;
  /** When the broker accepted the message. */
  readonly publishTime: Date;
  /** Who sent it; empty where the producer has no name. */
  readonly producerId: string;
  /** Empty where there is none. A view of what was received: copy it if you keep it for long. */
  readonly key: Buffer;
  /** Empty where there is none. A view, too. */
  readonly payload: Buffer;
  /** Empty where there are none. */
  readonly headers: Readonly<Record<string, string>>;
  /** When the event happened, by the producer's clock, to the millisecond. */
  readonly eventTime: Date | undefined;
  /** The same to the nanosecond. */
  readonly eventTimestamp: Timestamp | undefined;
  /**
   * Aborted when the message is not this consumer's any more: the broker took it back, the stream broke, or `close` has
   * waited long enough. What is settled then does nothing.
   */
  readonly signal: AbortSignal;
  /** Processed: never delivered again. */
  ack(): Promise<boolean>;
  /** Failed: delivered again, and what is behind it in its partition (or key) after it. */
  nack(options?: NackOptions): Promise<boolean>;
  /** Still at work: the lease ends so long from now. Needed only with `extendLeases: false`. */
  extend(byMs: number): Promise<boolean>;
  /** Hopeless: goes to the dead letters at once. */
  deadLetter(reason?: string): Promise<boolean>;
}

/** Processes one message. Returning acknowledges it, throwing is a nack with the error's text, unless it is settled. */
export type Handler = (delivery: Delivery) => void | Promise<void>;

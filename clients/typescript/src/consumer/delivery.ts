import type { Timestamp } from '@bufbuild/protobuf/wkt';

/** Options of a nack. */
export interface NackOptions {
  /** The delay before the next delivery. Default: the backoff of the subscription. */
  readonly delayMs?: number;
  /** The reason in the dead letter. The client cuts it at 1,000 characters. */
  readonly reason?: string;
}

/**
 * A message that is leased to this consumer until it is settled: the first of `ack`, `nack` and `deadLetter` counts.
 *
 * Each of them acts at once, in the background. Its promise resolves to true when the broker has made the settlement
 * durable. It resolves to false if the lease was over, the message was settled before, or the stream broke before the
 * answer. The broker delivers messages that are not acknowledged again.
 */
export interface Delivery {
  /** The topic of the subscription. */
  readonly topic: string;
  /** The partition of the topic. The first partition is 0. */
  readonly partition: number;
  /** Its offset in the partition. The first offset is 0. */
  readonly offset: bigint;
  /** The number of the attempt: 1 for the first delivery, and 1 more for each failed delivery. */
  readonly attempt: number;
  /** The time at which the broker accepted the message. */
  readonly publishTime: Date;
  /** The name of the producer; empty if the producer has none. */
  readonly producerId: string;
  /** Empty if there is none. A view of the received buffer: copy it if you keep it for long. */
  readonly key: Buffer;
  /** Empty if there is none. Also a view. */
  readonly payload: Buffer;
  /** Empty if there are none. */
  readonly headers: Readonly<Record<string, string>>;
  /** The time of the event, by the clock of the producer, in milliseconds. */
  readonly eventTime: Date | undefined;
  /** The time of the event in nanoseconds. */
  readonly eventTimestamp: Timestamp | undefined;
  /**
   * Aborted when the consumer loses the message: the broker took it back, the stream broke, or the time of `close` is
   * over. Later settlements have no effect.
   */
  readonly signal: AbortSignal;
  /** Acknowledges the message: the broker does not deliver it again. */
  ack(): Promise<boolean>;
  /** Nacks the message: the broker delivers it again, and then the messages behind it in its partition (or key). */
  nack(options?: NackOptions): Promise<boolean>;
  /** Extends the lease: it then ends this long from now. Needed only with `extendLeases: false`. */
  extend(byMs: number): Promise<boolean>;
  /** Dead-letters the message at once, because it cannot be processed. */
  deadLetter(reason?: string): Promise<boolean>;
}

/**
 * Processes one message. When it returns, the client acknowledges the message. When it throws, the client nacks it with
 * the text of the error.
 */
export type Handler = (delivery: Delivery) => void | Promise<void>;

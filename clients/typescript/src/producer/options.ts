/** Settings of a producer. All except the topic have a default. */
export interface ProducerOptions {
  /** The broker creates the topic if it does not exist, unless `auto-create-topics` is off. */
  readonly topic: string;
  /** Sends all messages to this partition. Default: by the hash of the key; messages without a key are spread. */
  readonly partition?: number;
  /**
   * The name of the producer. With a fixed name, a restarted process continues where the last process ended
   * (`lastSequence` is the number of its durable messages). Opening claims the name: from then on, the broker stores no
   * messages of older processes of the name, and their sends fail with PRODUCER_FENCED. Default: a random name.
   */
  readonly producerId?: string;
  /** The client sends a batch when it is about this large, ... Default 64 KiB. */
  readonly batchMaxBytes?: number;
  /** ... or has this many messages, ... Default 1,000. */
  readonly batchMaxMessages?: number;
  /** ... or its first message has waited this long. Default 1. */
  readonly lingerMs?: number;
  /** Number of sent batches without a receipt. Messages behind them gather in larger batches. Default 8. */
  readonly maxInFlight?: number;
  /** Approximate size of all messages that were handed over and have no receipt. Default 16 MiB. */
  readonly bufferMaxBytes?: number;
  /** What `send` does while the buffer is full: waits, or fails with BUFFER_FULL. Default `wait`. */
  readonly whenFull?: 'wait' | 'fail';
  /**
   * How long the client tries a message, counted from `send` (± 1 s), whatever the broker does. Then its `send`
   * fails with RETRY_TIMEOUT (the broker may have stored the message), and later messages continue. Opening and
   * `close` take no longer, either. Default: no limit, and 10 s for opening.
   */
  readonly retryTimeoutMs?: number;
  /** Pause before the first retry; it doubles, with jitter. Default 50. */
  readonly retryMinBackoffMs?: number;
  /** The longest such pause, unless the broker asks for more. Default 5,000. */
  readonly retryMaxBackoffMs?: number;
}

type Optional = 'partition' | 'retryTimeoutMs';

export type CompleteOptions = Required<Omit<ProducerOptions, Optional>> & Pick<ProducerOptions, Optional>;

const KiB = 1024;

export function complete(options: ProducerOptions): CompleteOptions {
  return {
    producerId: `producer-${crypto.randomUUID()}`,
    batchMaxBytes: 64 * KiB,
    batchMaxMessages: 1_000,
    lingerMs: 1,
    maxInFlight: 8,
    bufferMaxBytes: 16 * KiB * KiB,
    whenFull: 'wait',
    retryMinBackoffMs: 50,
    retryMaxBackoffMs: 5_000,
    ...options,
  };
}

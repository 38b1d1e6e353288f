/** Settings of a producer. Every one but the topic has a default. */
export interface ProducerOptions {
  /** Made, where the broker allows it, if it is not there. */
  readonly topic: string;
  /** All messages go to this partition. Default: by the hash of their key, or spread where they have none. */
  readonly partition?: number;
  /**
   * Who produces. With a name of its own a restarted process goes on where the last one ended (`lastSequence` says how
   * many of its messages are durable). Opening claims the name: from then on an older process of the name stores nothing
   * more, and its sends fail with PRODUCER_FENCED. Default: a random one.
   */
  readonly producerId?: string;
  /** A batch goes when it is about this large. Default 64 KiB. */
  readonly batchMaxBytes?: number;
  /** Or has so many messages. Default 1,000. */
  readonly batchMaxMessages?: number;
  /** Or its first message has waited so long. Default 1. */
  readonly lingerMs?: number;
  /** Batches that were sent and have no receipt yet. What waits behind them gathers in larger batches. Default 8. */
  readonly maxInFlight?: number;
  /** Messages that were handed over and have no receipt yet, in bytes, about. Default 16 MiB. */
  readonly bufferMaxBytes?: number;
  /** What `send` does while the buffer is full: waits, or fails with BUFFER_FULL. Default `wait`. */
  readonly whenFull?: 'wait' | 'fail';
  /**
   * How long a message is tried, from when it was handed over (± 1 s), whatever the broker does. After that its `send`
   * fails with RETRY_TIMEOUT (the message may be stored all the same), and what is behind it goes on. Opening and `close`
   * take no longer, either. Default: no limit, and 10 s for opening.
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

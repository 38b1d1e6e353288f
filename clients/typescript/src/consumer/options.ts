import { hostname } from 'node:os';
import { create } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import {
  type StartPosition,
  StartPosition_Boundary,
  StartPositionSchema,
} from '../gen/sluice/v1/message_pb.js';

/** Where a subscription begins. */
export type Start =
  | 'earliest'
  | 'latest'
  | {
      /** In every partition. */
      readonly offset: bigint;
    }
  | {
      /** At the first message that the broker accepted at or after this time. */
      readonly time: Date;
    };

/** Settings of a consumer. All except the topic and the subscription have a default. */
export interface ConsumerOptions {
  /** The broker creates the topic if it does not exist, unless `auto-create-topics` is off. */
  readonly topic: string;
  /** A durable name. Consumers of one subscription share its messages. */
  readonly subscription: string;
  /** A name that ListConsumers shows. Default: host and process. */
  readonly consumerId?: string;
  /** Where the subscription begins, if this consumer creates it. Default `earliest`. */
  readonly start?: Start;
  /**
   * The maximum of the message credit. The credit begins with 16, or twice the `concurrency` if that is more. It doubles
   * while the consumer keeps up, and follows the speed of processing: the messages of a second. Default 10,000.
   */
  readonly maxOutstandingMessages?: number;
  /** The byte credit; one message may exceed it. Default 16 MiB. */
  readonly maxOutstandingBytes?: number;
  /** Number of parallel handlers. They keep the ordering of the subscription. Default 1. */
  readonly concurrency?: number;
  /** The client gathers acknowledgements for this time and sends them as ranges. Default 5. */
  readonly ackIntervalMs?: number;
  /** Whether the client extends leases, each third of the lease time. Default true. */
  readonly extendLeases?: boolean;
  /** How long `close` waits for handlers, and then for the broker's answers. Default 30,000. */
  readonly drainTimeoutMs?: number;
  /** Pause before a broken stream is opened again; it doubles, with jitter. Default 50. */
  readonly retryMinBackoffMs?: number;
  /** The longest such pause, unless the broker asks for more. Default 5,000. */
  readonly retryMaxBackoffMs?: number;
}

export type CompleteConsumerOptions = Required<ConsumerOptions>;

const MiB = 1024 * 1024;

export function complete(options: ConsumerOptions): CompleteConsumerOptions {
  return {
    consumerId: `${hostname()}-${process.pid}`,
    start: 'earliest',
    maxOutstandingMessages: 10_000,
    maxOutstandingBytes: 16 * MiB,
    concurrency: 1,
    ackIntervalMs: 5,
    extendLeases: true,
    drainTimeoutMs: 30_000,
    retryMinBackoffMs: 50,
    retryMaxBackoffMs: 5_000,
    ...options,
  };
}

export function toStartPosition(start: Start): StartPosition {
  if (start === 'earliest' || start === 'latest') {
    const value = start === 'earliest' ? StartPosition_Boundary.EARLIEST : StartPosition_Boundary.LATEST;
    return create(StartPositionSchema, { position: { case: 'boundary', value } });
  }
  return create(StartPositionSchema, {
    position:
      'offset' in start
        ? { case: 'offset', value: start.offset }
        : { case: 'time', value: timestampFromDate(start.time) },
  });
}

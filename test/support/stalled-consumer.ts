import { Broker, SubscribeRequestSchema } from '../../src/gen/sluice/v1/broker_pb.js';
import { encode, type RawConnection, type RawStream } from './raw-grpc.js';

export interface StalledOptions {
  readonly topic: string;
  readonly subscription: string;
  readonly maxMessages: number;
  readonly maxBytes: number;
}

/** A consumer that grants credit and reads nothing: its receive window fills, and no more. */
export class StalledConsumer {
  receivedBytes = 0;
  readonly #stream: RawStream;

  constructor(connection: RawConnection, options: StalledOptions) {
    const { topic, subscription, maxMessages, maxBytes } = options;
    this.#stream = connection.open(Broker.method.subscribe, {
      onMessage: (message) => {
        this.receivedBytes += message.byteLength;
      },
      onEnd: () => {},
    });
    this.#stream.pause();
    const flowControl = { maxOutstandingMessages: maxMessages, maxOutstandingBytes: BigInt(maxBytes) };
    this.#stream.write(encode(SubscribeRequestSchema, { topic, subscription, flowControl }));
    this.#stream.end();
  }

  /** Begins to read. */
  resume(): void {
    this.#stream.resume();
  }

  cancel(): void {
    this.#stream.cancel();
  }
}

import { Broker, SubscribeRequestSchema } from '../../src/gen/sluice/v1/broker_pb.js';
import { encode, type RawConnection } from '../../test/support/raw-grpc.js';
import { readDelivery } from './wire.js';

/** A consumer that takes what its credit allows, and settles nothing by itself. */
export class Holder {
  /** Resolves with the session's id once it has been announced. */
  readonly opened: Promise<string>;
  /** Resolves once the credit is used up. */
  readonly isFull: Promise<void>;
  /** Partition and offset of each message, in the order of delivery. */
  readonly held: { partition: number; offset: number }[] = [];

  constructor(connection: RawConnection, topic: string, subscription: string, credit: number) {
    let onOpened: (sessionId: string) => void;
    let onFull: () => void;
    this.opened = new Promise((resolve) => {
      onOpened = resolve;
    });
    this.isFull = new Promise((resolve) => {
      onFull = resolve;
    });
    const stream = connection.open(Broker.method.subscribe, {
      onMessage: (message) => {
        const { opened, runs } = readDelivery(message);
        if (opened !== undefined) onOpened(opened.sessionId);
        for (const { partition, firstOffset, count } of runs) {
          for (let i = 0; i < count; i += 1) this.held.push({ partition, offset: firstOffset + i });
        }
        if (this.held.length === credit) onFull();
      },
      onEnd: () => {},
    });
    const flowControl = { maxOutstandingMessages: credit, maxOutstandingBytes: 1n << 40n };
    stream.write(encode(SubscribeRequestSchema, { topic, subscription, flowControl }));
    stream.end();
  }
}

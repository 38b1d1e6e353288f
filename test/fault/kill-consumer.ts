import { create, fromBinary } from '@bufbuild/protobuf';
import type { Random } from '../../src/base/random.js';
import { StatusCode } from '../../src/base/reasons.js';
import { MiB } from '../../src/base/units.js';
import {
  Broker,
  SubscribeRequestSchema,
  SubscribeResponseSchema,
} from '../../src/gen/sluice/v1/broker_pb.js';
import { type OffsetRange, OffsetRangeSchema } from '../../src/gen/sluice/v1/message_pb.js';
import { encode, RawConnection, RawGrpcError } from '../support/raw-grpc.js';
import type { Ledger } from './ledger.js';
import { identityOf } from './payload.js';

/** Ranges that are delivered and not acknowledged while publishing goes on. */
const heldRanges = 4;
const longestRange = 50;

export interface ConsumerOptions {
  readonly topic: string;
  readonly subscription: string;
  readonly random: Random;
  readonly ledger: Ledger;
  readonly onDelivery: () => void;
  /** An acknowledgement was answered. */
  readonly onSettled: () => void;
}

/**
 * A consumer that outlives the broker. It acknowledges in ranges and out of order, and always holds some back,
 * so that every kill meets cursors with holes.
 */
export class KillConsumer {
  readonly #options: ConsumerOptions;
  #connection: RawConnection | undefined;
  #session = '';
  #held: OffsetRange[] = [];
  #isDraining = false;
  /** Acknowledgements without an answer. */
  #underWay = 0;

  constructor(options: ConsumerOptions) {
    this.#options = options;
  }

  /** Every acknowledgement was answered: only then is it durable, although the broker counts it before. */
  get hasAnswers(): boolean {
    return this.#underWay === 0;
  }

  /** Resolves when the session is open. */
  async start(address: string): Promise<void> {
    const { topic, subscription, ledger } = this.#options;
    const connection = await RawConnection.connect(address);
    this.#connection = connection;
    this.#held = [];
    this.#underWay = 0;
    await new Promise<void>((resolve, reject) => {
      const stream = connection.open(Broker.method.subscribe, {
        onMessage: (message) => {
          if (this.#connection !== connection) return;
          const response = fromBinary(SubscribeResponseSchema, message);
          if (response.opened !== undefined) {
            this.#session = response.opened.sessionId;
            resolve();
          }
          for (const { partition, firstOffset, messages } of response.runs) {
            this.#receive(connection, partition, Number(firstOffset), messages);
          }
        },
        onEnd: (status) => {
          reject(new Error(`the session ended: ${status.code} ${status.message}`));
          // The kill is what ends sessions here; anything that the broker says itself is a fault.
          if (this.#connection !== connection || status.code === StatusCode.UNAVAILABLE) return;
          ledger.report('contradiction', `session ${this.#session} ended: ${status.code} ${status.message}`);
        },
      });
      stream.write(
        encode(SubscribeRequestSchema, {
          topic,
          subscription,
          flowControl: { maxOutstandingMessages: 2_000, maxOutstandingBytes: BigInt(4 * MiB) },
        }),
      );
      stream.end();
    });
  }

  /** The broker is gone: nothing that arrives later counts. */
  stop(): void {
    this.#connection?.destroy();
    this.#connection = undefined;
  }

  /** Holds nothing back any more. */
  drain(): void {
    this.#isDraining = true;
    if (this.#connection !== undefined) this.#settle(this.#connection);
  }

  #receive(
    connection: RawConnection,
    partition: number,
    firstOffset: number,
    messages: readonly Parameters<typeof identityOf>[0][],
  ): void {
    const { ledger, random, onDelivery } = this.#options;
    for (const [i, message] of messages.entries()) {
      ledger.delivered(this.#session, { partition, offset: firstOffset + i, identity: identityOf(message) });
    }
    const end = firstOffset + messages.length;
    for (let first = firstOffset; first < end; ) {
      const next = Math.min(end, first + 1 + Math.floor(random.next() * longestRange));
      this.#held.push(rangeOf(partition, first, next - 1));
      first = next;
    }
    onDelivery();
    this.#settle(connection);
  }

  /** Acknowledges what is held, in random order, save for a few ranges that wait for the next time. */
  #settle(connection: RawConnection): void {
    const keep = this.#isDraining ? 0 : heldRanges;
    const ranges: OffsetRange[] = [];
    while (this.#held.length > keep) {
      const at = Math.floor(this.#options.random.next() * this.#held.length);
      ranges.push(...this.#held.splice(at, 1));
    }
    if (ranges.length > 0) void this.#acknowledge(connection, ranges);
  }

  async #acknowledge(connection: RawConnection, ranges: readonly OffsetRange[]): Promise<void> {
    const { ledger, onSettled } = this.#options;
    const session = this.#session;
    this.#underWay += 1;
    const settlements = ranges.map((offsets) => ({
      offsets,
      outcome: { case: 'ack' as const, value: {} },
    }));
    try {
      const answer = await connection.unary(Broker.method.acknowledge, { sessionId: session, settlements });
      for (const { partition, firstOffset, lastOffset } of answer.stale) {
        const text = `session ${session}: stale ${partition}@${firstOffset}..${lastOffset}`;
        ledger.report('contradiction', text);
      }
      const count = ranges.reduce((sum, range) => sum + Number(range.lastOffset - range.firstOffset) + 1, 0);
      if (Number(answer.settledCount) !== count) {
        ledger.report('contradiction', `session ${session}: ${answer.settledCount} settled of ${count}`);
      }
    } catch (error) {
      // Not answered because of the kill: the messages may come again, or not.
      if (error instanceof RawGrpcError && error.status.code === StatusCode.UNAVAILABLE) return;
      ledger.report('contradiction', `session ${session}: ${error}`);
      return;
    }
    if (this.#connection !== connection) return;
    this.#underWay -= 1;
    for (const { partition, firstOffset, lastOffset } of ranges) {
      ledger.settled(partition, Number(firstOffset), Number(lastOffset));
    }
    onSettled();
  }
}

function rangeOf(partition: number, first: number, last: number): OffsetRange {
  return create(OffsetRangeSchema, { partition, firstOffset: BigInt(first), lastOffset: BigInt(last) });
}

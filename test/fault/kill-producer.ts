import { fromBinary } from '@bufbuild/protobuf';
import type { Random } from '../../src/base/random.js';
import { StatusCode } from '../../src/base/reasons.js';
import {
  Broker,
  PublishStreamRequestSchema,
  type PublishStreamResponse,
  PublishStreamResponseSchema,
} from '../../src/gen/sluice/v1/broker_pb.js';
import { encode, RawConnection, RawGrpcError, type RawStream } from '../support/raw-grpc.js';
import type { Ledger } from './ledger.js';
import { messageOf } from './payload.js';

/** Messages of one request, and requests without a receipt. */
const largestBatch = 40;
const batchesUnderWay = 6;

interface Batch {
  readonly firstSequence: number;
  readonly lastSequence: number;
}

export interface ProducerOptions {
  readonly topic: string;
  readonly producerId: string;
  readonly random: Random;
  readonly ledger: Ledger;
  /** A receipt has come. */
  readonly onReceipt: () => void;
}

/**
 * An idempotent producer that outlives the broker. After each restart it asks how far it has come, and sends
 * again what had no receipt: sometimes only what the broker does not know, sometimes all of it, which the broker
 * then has to recognise.
 */
export class KillProducer {
  readonly #options: ProducerOptions;
  /** Sent at least once and not receipted, in order. */
  #pending: Batch[] = [];
  #nextSequence = 1;
  /** What the broker knew when the stream was opened: these are duplicates when they are sent again. */
  #knownThrough = 0;
  #isFinishing = false;
  #connection: RawConnection | undefined;
  #stream: RawStream | undefined;
  #finished: (() => void) | undefined;

  constructor(options: ProducerOptions) {
    this.#options = options;
  }

  /** Connects, finds out where to resume, and publishes from then on. */
  async start(address: string): Promise<void> {
    const { random, ledger, producerId } = this.#options;
    const connection = await RawConnection.connect(address);
    this.#connection = connection;
    this.#knownThrough = await this.#lastSequence(connection);
    ledger.resumed(producerId, this.#knownThrough);
    this.#checkWhole();
    if (random.next() < 0.5) {
      this.#pending = this.#pending.filter((batch) => batch.lastSequence > this.#knownThrough);
    }

    const stream = connection.open(Broker.method.publishStream, {
      onMessage: (message) => {
        if (this.#stream === stream) this.#receive(fromBinary(PublishStreamResponseSchema, message));
      },
      onEnd: (status) => {
        // The kill is what ends streams here; anything that the broker says itself is a fault.
        if (this.#stream !== stream || status.code === StatusCode.UNAVAILABLE) return;
        ledger.report('contradiction', `${producerId}: the stream ended: ${status.code} ${status.message}`);
      },
    });
    this.#stream = stream;
    for (const batch of this.#pending) this.#send(batch);
    this.#fill();
  }

  /** The broker is gone: nothing that arrives later counts. */
  stop(): void {
    this.#stream = undefined;
    this.#connection?.destroy();
  }

  /** Publishes nothing new, and resolves when everything that was sent has its receipt. */
  finish(): Promise<void> {
    this.#isFinishing = true;
    return new Promise((resolve) => {
      this.#finished = resolve;
      this.#fill();
    });
  }

  async #lastSequence(connection: RawConnection): Promise<number> {
    const { topic, producerId } = this.#options;
    try {
      const state = await connection.unary(Broker.method.getProducer, { topic, producerId });
      return Number(state.lastSequence);
    } catch (error) {
      if (error instanceof RawGrpcError && error.status.code === StatusCode.NOT_FOUND) return 0;
      throw error;
    }
  }

  /** A request is all or nothing, so what the broker knows ends where a batch ends. */
  #checkWhole(): void {
    const through = this.#knownThrough;
    const torn = this.#pending.find(
      (batch) => batch.firstSequence <= through && through < batch.lastSequence,
    );
    if (torn === undefined) return;
    const { ledger, producerId } = this.#options;
    const text = `${producerId}: half a request: ${torn.firstSequence}..${torn.lastSequence} up to ${through}`;
    ledger.report('contradiction', text);
  }

  #fill(): void {
    while (!this.#isFinishing && this.#pending.length < batchesUnderWay) {
      const firstSequence = this.#nextSequence;
      const count = 1 + Math.floor(this.#options.random.next() * largestBatch);
      this.#nextSequence += count;
      const batch = { firstSequence, lastSequence: firstSequence + count - 1 };
      this.#pending.push(batch);
      this.#send(batch);
    }
    if (this.#isFinishing && this.#pending.length === 0) this.#finished?.();
  }

  #send({ firstSequence, lastSequence }: Batch): void {
    const { topic, producerId, ledger } = this.#options;
    const messages = [];
    for (let sequence = firstSequence; sequence <= lastSequence; sequence += 1) {
      messages.push(messageOf({ producer: producerId, sequence }));
    }
    ledger.sent(producerId, lastSequence);
    this.#stream?.write(
      encode(PublishStreamRequestSchema, {
        topic,
        producer: { producerId, epoch: 1n, firstSequence: BigInt(firstSequence) },
        batchId: BigInt(firstSequence),
        messages,
      }),
    );
  }

  #receive(receipt: PublishStreamResponse): void {
    const { ledger, producerId, onReceipt } = this.#options;
    const batch = this.#pending.shift();
    const fault = batch === undefined ? 'nothing was under way' : this.#faultOf(batch, receipt);
    if (fault !== undefined) {
      const { batchId } = receipt;
      ledger.report('contradiction', `${producerId}: the receipt of batch ${batchId}: ${fault}`);
      return;
    }
    ledger.receipted(producerId, batch!.lastSequence);
    this.#fill();
    onReceipt();
  }

  /** What is wrong with a receipt, if anything. */
  #faultOf({ firstSequence, lastSequence }: Batch, receipt: PublishStreamResponse): string | undefined {
    if (receipt.error !== undefined) return `refused: ${receipt.error.reason} ${receipt.error.message}`;
    if (Number(receipt.batchId) !== firstSequence) return `expected ${firstSequence}`;
    const count = lastSequence - firstSequence + 1;
    if (Number(receipt.messageCount) !== count) return `${receipt.messageCount} messages of ${count}`;
    const duplicates = lastSequence <= this.#knownThrough ? count : 0;
    if (Number(receipt.duplicateCount) !== duplicates) {
      return `${receipt.duplicateCount} duplicates, expected ${duplicates}`;
    }
    return undefined;
  }
}

import type { SluiceError } from '../errors.js';
import type { Durability, Message } from '../gen/sluice/v1/message_pb.js';
import { estimateBytes } from './message.js';

/** What became of a message: it is durable. */
export interface Receipt {
  /** Undefined for a duplicate: a retry found it stored, and the broker does not say where. */
  readonly partition: number | undefined;
  readonly offset: bigint | undefined;
  readonly durability: Durability;
  /** A try before, whose answer was lost, had stored it. */
  readonly isDuplicate: boolean;
}

interface Waiting {
  readonly resolve: (receipt: Receipt) => void;
  readonly reject: (error: SluiceError) => void;
}

/** Messages that travel in one request. */
export class Batch {
  readonly messages: Message[] = [];
  readonly #waiting: Waiting[] = [];
  byteLength = 0;
  /** Of its first message; given when the batch is closed, and anew when one before it has failed. */
  firstSequence = 0n;
  /** On the current stream. */
  isSent = false;

  get lastSequence(): bigint {
    return this.firstSequence + BigInt(this.messages.length) - 1n;
  }

  add(message: Message, waiting: Waiting): void {
    this.messages.push(message);
    this.#waiting.push(waiting);
    this.byteLength += estimateBytes(message);
  }

  /** All of it is durable. */
  resolve(receiptOf: (index: number) => Receipt): void {
    for (const [i, { resolve }] of this.#waiting.entries()) resolve(receiptOf(i));
  }

  reject(error: SluiceError): void {
    for (const { reject } of this.#waiting) reject(error);
  }
}

import { create, toBinary } from '@bufbuild/protobuf';
import type { SluiceError } from '../errors.js';
import { PublishStreamRequestSchema } from '../gen/sluice/v1/broker_pb.js';
import type { Durability } from '../gen/sluice/v1/message_pb.js';
import { WireWriter } from '../wire/writer.js';
import type { MessageEncoder } from './message.js';

/** The receipt of a durable message. */
export interface Receipt {
  /** The partition; undefined for a duplicate, whose place the broker does not say. */
  readonly partition: number | undefined;
  /** Its offset in the partition. The first offset is 0. */
  readonly offset: bigint | undefined;
  /** The durability; undefined for a duplicate. */
  readonly durability: Durability;
  /** Whether an earlier attempt, whose answer was lost, stored the message. */
  readonly isDuplicate: boolean;
}

/** The receipt of a duplicate. */
export const duplicate: Receipt = {
  partition: undefined,
  offset: undefined,
  durability: 0,
  isDuplicate: true,
};

/** The fields before the messages in the requests of a producer. */
export interface RequestHead {
  readonly topic: string;
  readonly partition: number | undefined;
  readonly producerId: string;
}

/** An upper limit of the size of the numbers and lengths of a head, with their tags. */
const headNumberBytes = 80;
const firstCapacity = 4 * 1024;

/** The messages of one request. Each is encoded when it is added, behind room for the head of the request. */
export class Batch {
  readonly #head: RequestHead;
  readonly #headRoom: number;
  readonly #writer: WireWriter;
  readonly #resolvers: ((receipt: Receipt) => void)[] = [];
  readonly #rejecters: ((error: SluiceError) => void)[] = [];
  #endWaiters: (() => void)[] | undefined = [];
  /** The hash of the key of each message. */
  readonly keyHashes: (number | undefined)[] = [];
  /** The number of the first message. Set when the batch is sent, and again in a new epoch. */
  firstSequence = 0n;
  /** The time at which the first message was added, by a monotonic clock. */
  readonly openedAtMs: number;
  /** Whether a copy of this epoch may still reach the broker, perhaps over a broken connection. */
  wasSent = false;
  /** How many times in a row the batch was alone under way when the stream ended with a bare RESOURCE_EXHAUSTED. */
  exhaustionCount = 0;
  #wasEncoded = false;

  constructor(head: RequestHead, openedAtMs: number) {
    this.#head = head;
    this.openedAtMs = openedAtMs;
    this.#headRoom = Buffer.byteLength(head.topic) + Buffer.byteLength(head.producerId) + headNumberBytes;
    this.#writer = new WireWriter(firstCapacity, this.#headRoom);
  }

  get count(): number {
    return this.#resolvers.length;
  }

  /** The size of the encoded messages. */
  get byteLength(): number {
    return this.#writer.pos - this.#headRoom;
  }

  get lastSequence(): bigint {
    return this.firstSequence + BigInt(this.count) - 1n;
  }

  /** Adds the measured message, which has this size. */
  add(
    encoder: MessageEncoder,
    byteLength: number,
    resolve: (receipt: Receipt) => void,
    reject: (error: SluiceError) => void,
  ): void {
    this.#writer.reserve(byteLength);
    this.keyHashes.push(encoder.write(this.#writer));
    this.#resolvers.push(resolve);
    this.#rejecters.push(reject);
  }

  /** The request with the batch. No message may be added afterwards. */
  encode(epoch: bigint): Buffer {
    const { topic, partition, producerId } = this.#head;
    const producer = { producerId, epoch, firstSequence: this.firstSequence };
    const routed = partition === undefined ? {} : { partition };
    const request = create(PublishStreamRequestSchema, {
      topic,
      ...routed,
      producer,
      batchId: this.firstSequence,
    });
    const head = toBinary(PublishStreamRequestSchema, request);
    const start = this.#headRoom - head.length;
    // A broken stream may still hold the request of an earlier attempt, which must not be overwritten.
    if (this.#wasEncoded || start < 0) return Buffer.concat([head, this.#writer.view(this.#headRoom)]);
    this.#wasEncoded = true;
    this.#writer.bytes.set(head, start);
    return this.#writer.view(start);
  }

  /** All messages are durable. */
  resolve(receiptOf: (index: number) => Receipt): void {
    for (let i = 0; i < this.#resolvers.length; i++) this.#resolvers[i]!(receiptOf(i));
    this.#end();
  }

  reject(error: SluiceError): void {
    for (const reject of this.#rejecters) reject(error);
    this.#end();
  }

  /** Resolves when the batch has its result. */
  async whenAnswered(): Promise<void> {
    await new Promise<void>((resolve) => {
      if (this.#endWaiters === undefined) resolve();
      else this.#endWaiters.push(resolve);
    });
  }

  #end(): void {
    for (const wake of this.#endWaiters ?? []) wake();
    this.#endWaiters = undefined;
  }
}

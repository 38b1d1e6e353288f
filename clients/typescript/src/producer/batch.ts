import { create, toBinary } from '@bufbuild/protobuf';
import type { SluiceError } from '../errors.js';
import { PublishStreamRequestSchema } from '../gen/sluice/v1/broker_pb.js';
import type { Durability } from '../gen/sluice/v1/message_pb.js';
import { WireWriter } from '../wire/writer.js';
import type { MessageEncoder } from './message.js';

/** The receipt of a durable message. */
export interface Receipt {
  /** Undefined for a duplicate: a retry found it stored, and the broker does not say where. */
  readonly partition: number | undefined;
  /** Its offset in the partition. The first offset is 0. */
  readonly offset: bigint | undefined;
  /** The durability; undefined for a duplicate. */
  readonly durability: Durability;
  /** Whether an earlier try, whose answer was lost, has stored the message. */
  readonly isDuplicate: boolean;
}

/** Of a message that was found to be stored. */
export const duplicate: Receipt = {
  partition: undefined,
  offset: undefined,
  durability: 0,
  isDuplicate: true,
};

/** What stands before the messages in the requests of a producer. */
export interface RequestHead {
  readonly topic: string;
  readonly partition: number | undefined;
  readonly producerId: string;
}

/** The numbers and lengths of a head, with their tags, take less. */
const headNumberBytes = 80;
const firstCapacity = 4 * 1024;

/** Messages that travel in one request. They are encoded as they come, behind room for the head of the request. */
export class Batch {
  readonly #head: RequestHead;
  readonly #headRoom: number;
  readonly #writer: WireWriter;
  readonly #resolvers: ((receipt: Receipt) => void)[] = [];
  readonly #rejecters: ((error: SluiceError) => void)[] = [];
  #endWaiters: (() => void)[] | undefined = [];
  /** Of each message's key. */
  readonly keyHashes: (number | undefined)[] = [];
  /** Of its first message: given when it is sent, and anew when one before it was given up. */
  firstSequence = 0n;
  /** By a monotonic clock: when its first message was handed over. */
  readonly openedAtMs: number;
  /** It may lie in a connection, also in one that is broken. */
  wasSent = false;
  /** How often in a row it was alone under way and the stream ended with a bare RESOURCE_EXHAUSTED. */
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

  /** Of its messages, encoded. */
  get byteLength(): number {
    return this.#writer.pos - this.#headRoom;
  }

  get lastSequence(): bigint {
    return this.firstSequence + BigInt(this.count) - 1n;
  }

  /** Adds the message that was measured, of so many bytes. */
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

  /** The request that carries it. No other message may be added afterwards. */
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
    // A stream that broke may still hold the request of an earlier try: that is not written over.
    if (this.#wasEncoded || start < 0) return Buffer.concat([head, this.#writer.view(this.#headRoom)]);
    this.#wasEncoded = true;
    this.#writer.bytes.set(head, start);
    return this.#writer.view(start);
  }

  /** All of it is durable. */
  resolve(receiptOf: (index: number) => Receipt): void {
    for (let i = 0; i < this.#resolvers.length; i++) this.#resolvers[i]!(receiptOf(i));
    this.#end();
  }

  reject(error: SluiceError): void {
    for (const reject of this.#rejecters) reject(error);
    this.#end();
  }

  /** Resolves when it has its answer. */
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

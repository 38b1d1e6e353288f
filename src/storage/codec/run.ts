import { entryEnds } from '../../envelope/entries.js';

/** Messages of one partition at consecutive offsets, by one producer, for the same readers, accepted at one time. */
export interface StoredRun {
  readonly partition: number;
  readonly firstOffset: number;
  readonly count: number;
  readonly publishTimeMs: number;
  readonly producerId: string;
  /** The only subscription that gets the messages; 0: all subscriptions. */
  readonly targetSubscriptionId: number;
  /** Encoded `messages` fields (number 15), byte for byte as they were published. */
  readonly messages: Uint8Array;
  /** `ends[i]` is the end of message i in `messages`. Computed by the first access, then kept. */
  readonly ends: Uint32Array;
}

/** The header of a run in a log record. */
export interface RunHeader {
  readonly producerId: string;
  /** 0: all subscriptions. */
  readonly targetSubscriptionId: number;
  readonly count: number;
  readonly byteLength: number;
}

export class Run implements StoredRun {
  readonly partition: number;
  readonly firstOffset: number;
  readonly count: number;
  readonly publishTimeMs: number;
  readonly producerId: string;
  readonly targetSubscriptionId: number;
  readonly messages: Uint8Array;
  #ends: Uint32Array | undefined;

  constructor(
    partition: number,
    firstOffset: number,
    publishTimeMs: number,
    header: RunHeader,
    messages: Uint8Array,
  ) {
    this.partition = partition;
    this.firstOffset = firstOffset;
    this.count = header.count;
    this.publishTimeMs = publishTimeMs;
    this.producerId = header.producerId;
    this.targetSubscriptionId = header.targetSubscriptionId;
    this.messages = messages;
  }

  get ends(): Uint32Array {
    this.#ends ??= entryEnds(this.messages, this.count);
    return this.#ends;
  }

  get endOffset(): number {
    return this.firstOffset + this.count;
  }
}

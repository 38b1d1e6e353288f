import { entryEnds } from './entries.js';
import type { StoredRun } from './types.js';

/** What a log record knows of one of its runs, apart from the messages. */
export interface RunHeader {
  readonly producerId: string;
  /** 0: everybody. */
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

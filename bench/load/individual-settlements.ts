import { frame } from '../../test/support/grpc-framing.js';

/** Tags of ConsumeRequest, Settlement and OffsetRange. */
const settlementsTag = 0x12;
const settlementIdTag = 0x20;
const offsetsTag = 0x0a;
const ackTag = 0x12;
const partitionTag = 0x08;
const firstOffsetTag = 0x10;
const lastOffsetTag = 0x18;
/** More than one settlement of one message can take. */
const maxSettlementBytes = 40;

/**
 * Writes ConsumeRequests in which each message is acknowledged by a settlement of its own, straight to the wire:
 * making objects first would have the load generator be the slower side.
 */
export class IndividualSettlements {
  #bytes: Buffer;
  #length = 0;
  #count = 0;

  constructor(maxCount: number) {
    this.#bytes = Buffer.allocUnsafe(maxCount * maxSettlementBytes + 16);
  }

  get count(): number {
    return this.#count;
  }

  ack(partition: number, offset: number): void {
    const partitionBytes = 1 + varintLength(partition);
    const offsetBytes = 1 + varintLength(offset);
    const rangeBytes = partitionBytes + 2 * offsetBytes;
    this.#byte(settlementsTag);
    this.#byte(2 + rangeBytes + 2);
    this.#byte(offsetsTag);
    this.#byte(rangeBytes);
    this.#number(partitionTag, partition);
    this.#number(firstOffsetTag, offset);
    this.#number(lastOffsetTag, offset);
    this.#byte(ackTag);
    this.#byte(0);
    this.#count += 1;
  }

  /** The request, framed, with this id; begins the next one. */
  take(settlementId: number): Uint8Array {
    this.#number(settlementIdTag, settlementId);
    const request = frame(this.#bytes.subarray(0, this.#length));
    this.#length = 0;
    this.#count = 0;
    return request;
  }

  #number(tag: number, value: number): void {
    this.#byte(tag);
    for (; value >= 0x80; value = Math.floor(value / 0x80)) this.#byte((value % 0x80) | 0x80);
    this.#byte(value);
  }

  #byte(value: number): void {
    this.#bytes[this.#length++] = value;
  }
}

function varintLength(value: number): number {
  let length = 1;
  for (; value >= 0x80; value = Math.floor(value / 0x80)) length += 1;
  return length;
}

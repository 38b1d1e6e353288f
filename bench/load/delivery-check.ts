import type { RunView } from './wire.js';

/** Where the number of a key begins in an encoded message: behind its tag, its length, and `key-`. */
const keyField = 0x0a;
const keyPrefixBytes = 4;

/** Who has a key, and how far it has come. */
interface KeyState {
  lastOffset: number;
  holder: number;
  outstandingCount: number;
}

/**
 * Knows which messages of a backlog have been delivered, to whom. A message that comes twice is a fault; so is,
 * where keys are ordered, one that overtakes another of its key, or that comes while another consumer holds one.
 */
export class DeliveryCheck {
  readonly #isDelivered: readonly Uint8Array[];
  readonly #keys: readonly KeyState[];
  readonly #keyOf: readonly Uint32Array[];
  #count = 0;

  /** `keyCount` 0: keys are not looked at. */
  constructor(partitionCount: number, messageCount: number, keyCount: number) {
    const each = <T>(make: () => T): T[] => Array.from({ length: partitionCount }, make);
    this.#isDelivered = each(() => new Uint8Array(messageCount));
    this.#keys = Array.from({ length: keyCount }, () => ({
      lastOffset: -1,
      holder: -1,
      outstandingCount: 0,
    }));
    this.#keyOf = keyCount === 0 ? [] : each(() => new Uint32Array(messageCount));
  }

  /** Messages that were delivered, each once. */
  get count(): number {
    return this.#count;
  }

  delivered(consumer: number, run: RunView): void {
    const { partition, firstOffset, count } = run;
    const isDelivered = this.#isDelivered[partition]!;
    for (let offset = firstOffset; offset < firstOffset + count; offset += 1) {
      if (isDelivered[offset] !== 0) throw new Error(`${partition}@${offset} was delivered twice`);
      isDelivered[offset] = 1;
    }
    this.#count += count;
    if (this.#keys.length > 0) this.#checkKeys(consumer, run);
  }

  /** To be called before the acknowledgement is sent: from then on, others may have the key. */
  acknowledging(partition: number, offset: number): void {
    if (this.#keys.length > 0) this.#keys[this.#keyOf[partition]![offset]!]!.outstandingCount -= 1;
  }

  #checkKeys(consumer: number, { partition, firstOffset, messages }: RunView): void {
    const keyOf = this.#keyOf[partition]!;
    let offset = firstOffset;
    for (let at = 0; at < messages.byteLength; offset += 1) {
      const { start, length } = lengthAt(messages, at + 1);
      at = start + length;
      const key = keyNumber(messages, start);
      keyOf[offset] = key;
      const state = this.#keys[key]!;
      if (offset <= state.lastOffset) throw new Error(`${partition}@${offset} was overtaken within its key`);
      if (state.outstandingCount > 0 && state.holder !== consumer) {
        throw new Error(`${partition}@${offset} came to ${consumer} while ${state.holder} holds its key`);
      }
      state.lastOffset = offset;
      state.holder = consumer;
      state.outstandingCount += 1;
    }
  }
}

function lengthAt(bytes: Uint8Array, at: number): { start: number; length: number } {
  let length = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = bytes[at++]!;
    length |= (byte & 0x7f) << shift;
    if (byte < 0x80) return { start: at, length };
  }
}

/** The number of a key of the request pool: `key-` and decimal digits. */
function keyNumber(bytes: Uint8Array, start: number): number {
  if (bytes[start] !== keyField) throw new Error('a message without a key');
  const end = start + 2 + bytes[start + 1]!;
  let key = 0;
  for (let at = start + 2 + keyPrefixBytes; at < end; at += 1) key = key * 10 + (bytes[at]! - 0x30);
  return key;
}

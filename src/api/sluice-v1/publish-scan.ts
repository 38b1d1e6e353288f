import { SluiceError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import { requestTooLarge, topicNotNamed } from '../../base/shared-errors.js';
import type { ProducerSequence, PublishBatch } from '../../broker/types.js';
import { messagesField, messagesTag } from '../../envelope/fields.js';
import { expectUtf8, type KeyBounds, refuseUnknown, scanMessage } from '../../envelope/message-scan.js';
import { WireCursor, WireFault } from '../../envelope/wire-cursor.js';
import { checkName, invalidField } from './convert-values.js';

/** Tags of PublishRequest and PublishStreamRequest. Only the latter has a batch id. */
const topicTag = 0x0a;
const partitionTag = 0x10;
const producerTag = 0x1a;
const batchIdTag = 0x20;
const lastRequestField = 4;
const producerType = { name: 'sluice.v1.ProducerSequence', path: 'producer' };
/** Tags of ProducerSequence. */
const producerIdTag = 0x0a;
const epochTag = 0x10;
const firstSequenceTag = 0x18;

/** A 64-bit number in two halves, each from 0 to 2^32 - 1. It is passed through, never calculated with. */
export interface Uint64 {
  readonly low: number;
  readonly high: number;
}

const zero: Uint64 = { low: 0, high: 0 };

export interface ScannedBatch extends PublishBatch {
  /** An absent topic is filled in. */
  readonly topic: string;
  /** Always 0 for Publish, which has no batch ids. */
  readonly batchId: Uint64;
}

/** The request while it is read. Its topic is empty until a field names one. */
type MutableBatch = { -readonly [K in keyof ScannedBatch]: ScannedBatch[K] };

export interface ScanLimits {
  readonly maxMessageBytes: number;
  readonly maxRequestBytes: number;
}

/**
 * Reads the publish requests of one stream in a single pass: checks everything that will be stored, finds the
 * keys, and decodes only the few fields before the messages.
 */
export class PublishScanner {
  readonly #limits: ScanLimits;
  readonly #hasBatchId: boolean;
  readonly #type: { readonly name: string; readonly path: string };
  readonly #cursor = new WireCursor();
  readonly #key: KeyBounds = { keyStart: 0, keyEnd: 0 };
  /** The topic of the previous request, even if that was refused. */
  #topic: string | undefined;

  constructor(scanLimits: ScanLimits, method: 'Publish' | 'PublishStream') {
    this.#limits = scanLimits;
    this.#hasBatchId = method === 'PublishStream';
    this.#type = { name: `sluice.v1.${method}Request`, path: '' };
  }

  /** Throws SluiceError: MALFORMED_REQUEST, REQUEST_TOO_LARGE, MESSAGE_TOO_LARGE, RESERVED_HEADER, INVALID_…, UNIMPLEMENTED. */
  scan(source: Uint8Array): ScannedBatch {
    if (source.length > this.#limits.maxRequestBytes) {
      throw requestTooLarge(source.length, this.#limits.maxRequestBytes);
    }
    const cursor = this.#cursor;
    cursor.bytes = source;
    cursor.pos = 0;
    const bounds: number[] = [];
    try {
      return this.#scanFields(cursor, source.length, bounds);
    } catch (thrown) {
      if (!(thrown instanceof WireFault)) throw thrown;
      const place = `after message ${bounds.length >>> 2} of the request`;
      throw malformed(`${thrown.message} (at byte ${cursor.pos}, ${place})`);
    } finally {
      // Does not keep the request in memory.
      cursor.bytes = emptyBytes;
    }
  }

  #scanFields(cursor: WireCursor, end: number, bounds: number[]): ScannedBatch {
    const source = cursor.bytes;
    const batch: MutableBatch = {
      topic: '',
      partition: undefined,
      producer: undefined,
      source,
      bounds,
      batchId: zero,
    };
    while (cursor.pos < end) {
      const start = cursor.pos;
      const tag = cursor.tag(end);
      if (tag === messagesTag) {
        // Exactly one byte: the store relies on it.
        if (cursor.pos !== start + 1) throw new WireFault('the tag of a message takes more than one byte');
        this.#scanOne(cursor, start, cursor.fieldEnd(end), bounds);
      } else this.#scanField(cursor, tag, end, batch);
    }
    return this.#checked(batch);
  }

  /** A field that is not a message: at most a few in each request. */
  #scanField(cursor: WireCursor, tag: number, end: number, batch: MutableBatch): void {
    switch (tag) {
      case topicTag:
        batch.topic = text(cursor, end, 'topic');
        if (batch.topic !== '') this.#topic = checkName(batch.topic, 'topic');
        return;
      case partitionTag:
        cursor.varint64(end);
        batch.partition = cursor.low;
        return;
      case producerTag:
        // A message field that occurs twice is merged.
        batch.producer ??= { producerId: '', epoch: 0, firstSequence: 0 };
        scanProducer(cursor, cursor.fieldEnd(end), batch.producer);
        return;
      case batchIdTag:
        cursor.varint64(end);
        // Publish does not answer batches, so an id has no effect there.
        if (this.#hasBatchId) batch.batchId = { low: cursor.low, high: cursor.high };
        return;
      default:
        if (tag >>> 3 === messagesField) {
          throw new WireFault(`field ${messagesField} has wire type ${tag & 7}`);
        }
        refuseUnknown(cursor, tag, end, lastRequestField, this.#type);
    }
  }

  /** The same request, with its topic, if its fields may stand together. */
  #checked(batch: MutableBatch): ScannedBatch {
    if (this.#topic === undefined) {
      throw topicNotNamed();
    }
    const hasMessages = batch.bounds.length > 0;
    if (!hasMessages && batch.topic === '' && batch.producer === undefined) {
      throw invalidField(
        'messages',
        'a request holds messages, claims a producer, or names the topic of those that follow',
      );
    }
    if (batch.producer !== undefined) checkProducer(batch.producer, hasMessages);
    batch.topic = this.#topic;
    return batch;
  }

  #scanOne(cursor: WireCursor, start: number, messageEnd: number, bounds: number[]): void {
    const index = bounds.length >>> 2;
    if (index >= limits.maxMessagesPerRequest) {
      throw invalidField('messages', `a request may hold ${limits.maxMessagesPerRequest} messages`);
    }
    const byteLength = messageEnd - cursor.pos;
    if (byteLength > this.#limits.maxMessageBytes) {
      const text = `messages[${index}] takes ${byteLength} bytes, and a message may take ${this.#limits.maxMessageBytes}`;
      throw new SluiceError('MESSAGE_TOO_LARGE', text, { field: `messages[${index}]` });
    }
    try {
      scanMessage(cursor, messageEnd, limits.maxKeyBytes, this.#key);
    } catch (thrown) {
      throw named(thrown, index);
    }
    bounds.push(start, messageEnd, this.#key.keyStart, this.#key.keyEnd);
  }
}

const emptyBytes = new Uint8Array(0);

type MutableSequence = { -readonly [K in keyof ProducerSequence]: ProducerSequence[K] };

/**
 * The batch id of a refused PublishStreamRequest. It is read even if other fields are invalid; undefined if the
 * request is not a sequence of fields.
 */
export function findBatchId(source: Uint8Array): Uint64 | undefined {
  const cursor = new WireCursor();
  cursor.bytes = source;
  let batchId = zero;
  let isFound = false;
  try {
    while (cursor.pos < source.length) {
      const tag = cursor.tag(source.length);
      cursor.skip(tag, source.length);
      if (tag !== batchIdTag) continue;
      batchId = { low: cursor.low, high: cursor.high };
      isFound = true;
    }
  } catch {
    // The fault comes after the id, or hides it.
    return isFound ? batchId : undefined;
  }
  return batchId;
}

export function malformed(text: string): SluiceError {
  return new SluiceError('MALFORMED_REQUEST', `the request is not valid protobuf: ${text}`);
}

function scanProducer(cursor: WireCursor, end: number, producer: MutableSequence): void {
  while (cursor.pos < end) {
    const tag = cursor.tag(end);
    if (tag === producerIdTag) producer.producerId = text(cursor, end, 'producer.producer_id');
    else if (tag === epochTag) producer.epoch = safeNumber(cursor, end, 'producer.epoch');
    else if (tag === firstSequenceTag)
      producer.firstSequence = safeNumber(cursor, end, 'producer.first_sequence');
    else refuseUnknown(cursor, tag, end, 3, producerType);
  }
}

function checkProducer(producer: ProducerSequence, hasMessages: boolean): void {
  checkName(producer.producerId, 'producer.producer_id');
  if (producer.epoch >= limits.maxOffset) {
    throw invalidField('producer.epoch', `must be below ${limits.maxOffset}: OpenProducer raises it by one`);
  }
  if (producer.firstSequence === 0 && hasMessages) {
    throw invalidField('producer.first_sequence', 'the messages of a producer are numbered from 1');
  }
}

function text(cursor: WireCursor, end: number, field: string): string {
  const fieldEnd = cursor.fieldEnd(end);
  expectUtf8(cursor.bytes, cursor.pos, fieldEnd, field);
  const { bytes } = cursor;
  const value = Buffer.from(bytes.buffer, bytes.byteOffset + cursor.pos, fieldEnd - cursor.pos).toString();
  cursor.pos = fieldEnd;
  return value;
}

function safeNumber(cursor: WireCursor, end: number, field: string): number {
  cursor.varint64(end);
  const value = cursor.high * 2 ** 32 + cursor.low;
  if (value > limits.maxOffset) throw invalidField(field, `is larger than ${limits.maxOffset}`);
  return value;
}

/** The same fault, with the index of the message. */
function named(thrown: unknown, index: number): unknown {
  const message = `messages[${index}]`;
  if (thrown instanceof WireFault) return new WireFault(`${message}: ${thrown.message}`);
  if (!(thrown instanceof SluiceError)) return thrown;
  const field = `${message}.${thrown.details.field}`;
  return new SluiceError(thrown.reason, `${field}: ${thrown.message}`, { ...thrown.details, field });
}

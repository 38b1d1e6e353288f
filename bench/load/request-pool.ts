import { createRandom, type Random } from '../../src/base/random.js';
import { PublishStreamRequestSchema } from '../../src/gen/sluice/v1/broker_pb.js';
import { prefixBytes } from '../../test/support/grpc-framing.js';
import { encode } from '../../test/support/raw-grpc.js';

/** What the messages of a load look like. */
export interface LoadShape {
  readonly topic: string;
  /** Payload sizes are spread evenly between these. */
  readonly minPayloadBytes: number;
  readonly maxPayloadBytes: number;
  /** A request is closed when it holds so many bytes; 0: one message a request. */
  readonly requestBytes: number;
  /** 0: messages without a key. */
  readonly keyCount: number;
  /** The number of the first key. */
  readonly firstKey?: number;
  /** Different requests that are made in advance, and sent over and over. */
  readonly poolRequests: number;
  readonly seed: number;
}

/** Requests as they go on the wire, one behind the other, so that any sequence of them is one slice. */
export interface RequestPool {
  readonly wire: Uint8Array;
  /** Request i is `wire` from `starts[i]` up to `starts[i + 1]`; its batch id is i + 1. */
  readonly starts: readonly number[];
  readonly messageCounts: readonly number[];
  /** Encoded messages of request i: the last bytes of it. */
  readonly bodyBytes: readonly number[];
}

export function createRequestPool(shape: LoadShape): RequestPool {
  const random = createRandom(shape.seed);
  const requests: Uint8Array[] = [];
  const starts = [0];
  const messageCounts: number[] = [];
  const bodyBytes: number[] = [];
  for (let i = 0; i < shape.poolRequests; i += 1) {
    const messages = messagesOfRequest(shape, random);
    const { topic } = shape;
    const empty = encode(PublishStreamRequestSchema, { topic, batchId: BigInt(i + 1) });
    const request = encode(PublishStreamRequestSchema, { topic, batchId: BigInt(i + 1), messages });
    requests.push(request);
    starts.push(starts[i]! + request.byteLength);
    messageCounts.push(messages.length);
    // Messages have the highest field number, so they stand behind everything else.
    bodyBytes.push(request.byteLength - empty.byteLength);
  }
  return { wire: Buffer.concat(requests), starts, messageCounts, bodyBytes };
}

function messagesOfRequest(shape: LoadShape, random: Random) {
  const { minPayloadBytes, maxPayloadBytes, requestBytes, keyCount, firstKey = 0 } = shape;
  const messages: { key: Uint8Array; payload: Uint8Array }[] = [];
  let bytes = prefixBytes;
  for (;;) {
    const length = minPayloadBytes + Math.floor(random.next() * (maxPayloadBytes - minPayloadBytes + 1));
    const key = keyCount === 0 ? '' : `key-${firstKey + Math.floor(random.next() * keyCount)}`;
    // Tags and lengths of the message and of its payload cost at most 8 bytes.
    bytes += length + key.length + 8;
    if (messages.length > 0 && bytes > requestBytes) return messages;
    messages.push({ key: Buffer.from(key), payload: randomBytes(length, random) });
  }
}

/** Bytes that no compression makes smaller. */
export function randomBytes(length: number, random: Random): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  let at = 0;
  for (; at + 4 <= length; at += 4) bytes.writeUInt32LE(random.next() * 2 ** 32, at);
  for (; at < length; at += 1) bytes[at] = random.next() * 256;
  return bytes;
}

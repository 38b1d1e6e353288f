import type { MessageInitShape } from '@bufbuild/protobuf';
import { createRandom } from '../../src/base/random.js';
import type { Message, MessageSchema } from '../../src/gen/sluice/v1/message_pb.js';
import type { Identity } from './ledger.js';

const keysPerProducer = 6;
const longestFiller = 400;

/**
 * The message of this producer and sequence: always the same bytes, so that a reader can tell whether
 * one was altered.
 */
export function messageOf({ producer, sequence }: Identity): MessageInitShape<typeof MessageSchema> {
  const random = createRandom(sequence * 31 + producer.length);
  const filler = Buffer.allocUnsafe(Math.floor(random.next() * longestFiller));
  for (let i = 0; i < filler.length; i += 1) filler[i] = random.next() * 256;
  return {
    key: Buffer.from(`${producer}-${sequence % keysPerProducer}`),
    payload: Buffer.concat([Buffer.from(`${producer}:${sequence}:`), filler]),
  };
}

/** Whose message it is; undefined when any byte of it is not as it was sent. */
export function identityOf(message: Pick<Message, 'key' | 'payload'>): Identity | undefined {
  const payload = Buffer.from(message.payload.buffer, message.payload.byteOffset, message.payload.byteLength);
  const match = /^([\w-]+):(\d+):/.exec(payload.toString('latin1', 0, 64));
  if (match === null) return undefined;
  const identity = { producer: match[1]!, sequence: Number(match[2]) };
  const expected = messageOf(identity);
  const isIntact = payload.equals(expected.payload!) && Buffer.compare(message.key, expected.key!) === 0;
  return isIntact ? identity : undefined;
}

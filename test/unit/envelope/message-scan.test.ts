import assert from 'node:assert/strict';
import { create, type DescField, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { WireType } from '@bufbuild/protobuf/wire';
import { TimestampSchema } from '@bufbuild/protobuf/wkt';
import fc from 'fast-check';
import { SluiceError } from '../../../src/base/errors.js';
import { appendOrigin, deadLetterHeaders, originOf } from '../../../src/envelope/dead-letter-origin.js';
import { entryEnds, messageOf } from '../../../src/envelope/entries.js';
import * as fields from '../../../src/envelope/fields.js';
import { messageEntry, messageKeyRange, numbersOfKeys } from '../../../src/envelope/message-bytes.js';
import { scanMessage } from '../../../src/envelope/message-scan.js';
import { WireCursor, WireFault } from '../../../src/envelope/wire-cursor.js';
import { PublishRequestSchema } from '../../../src/gen/sluice/v1/broker_pb.js';
import { MessageRunSchema, MessageSchema } from '../../../src/gen/sluice/v1/message_pb.js';

type MessageInit = MessageInitShape<typeof MessageSchema>;

const maxKeyBytes = 60;
const text = fc.string({ unit: 'grapheme', maxLength: 12 });
const arbitraryMessage: fc.Arbitrary<MessageInit> = fc.record(
  {
    key: fc.uint8Array({ maxLength: maxKeyBytes }),
    payload: fc.uint8Array({ maxLength: 300 }),
    headers: fc.dictionary(
      text.filter((name) => !name.startsWith('sluice-') && name !== '__proto__'),
      text,
      { noNullPrototype: true },
    ),
    eventTime: fc.record({
      seconds: fc.bigInt(-62_135_596_800n, 253_402_300_799n),
      nanos: fc.integer({ min: 0, max: 999_999_999 }),
    }),
  },
  { requiredKeys: [] },
);

function encode(message: MessageInit): Uint8Array {
  return toBinary(MessageSchema, create(MessageSchema, message));
}

/** The encoded `messages` fields of a request, without gaps. */
function entriesOf(messages: MessageInit[]): Uint8Array {
  return toBinary(PublishRequestSchema, create(PublishRequestSchema, { messages }));
}

/** The key that the scanner found; throws what the scanner throws. */
function scannedKey(bytes: Uint8Array): Buffer {
  const cursor = new WireCursor();
  cursor.bytes = bytes;
  const key = { keyStart: 0, keyEnd: 0 };
  scanMessage(cursor, bytes.length, maxKeyBytes, key);
  assert.equal(cursor.pos, bytes.length);
  return Buffer.from(bytes.subarray(key.keyStart, key.keyEnd));
}

function thrownBy(call: () => unknown): unknown {
  try {
    call();
    return undefined;
  } catch (thrown) {
    return thrown;
  }
}

/** What the scanner refuses although the generated decoder of TypeScript may take it, by the text of the refusal. */
const deliberateFaults: Readonly<Record<string, RegExp>> = {
  'decoders of other languages refuse more than 32 bits of a tag or a length': /more than 32 bits/,
  'decoders of other languages refuse more than 64 bits of a number': /more than 64 bits/,
  'proto3 has no groups': /groups are not supported/,
  'decoders disagree about a known field with a wrong wire type': /^field \d+ has wire type \d$/,
  'decoders disagree about text that is not UTF-8': /is not valid UTF-8/,
};
const deliberateReasons = ['INVALID_FIELD', 'RESERVED_HEADER', 'UNIMPLEMENTED'];

function isDeliberate(refusal: unknown): boolean {
  if (refusal instanceof SluiceError) return deliberateReasons.includes(refusal.reason);
  assert(refusal instanceof WireFault, String(refusal));
  return Object.values(deliberateFaults).some((pattern) => pattern.test(refusal.message));
}

/**
 * One more difference: the decoder of TypeScript reads a field inside a header or an event time beyond the end of
 * that header or event time. The scanner refuses it.
 */
function mayEndTooLate(refusal: unknown, bytes: Uint8Array): boolean {
  const endsTooEarly = /ends within a number|a length points past its end/.test(String(refusal));
  return endsTooEarly && (bytes.includes(fields.headersTag) || bytes.includes(fields.eventTimeTag));
}

/** Bytes that look like fields more often than chance makes them. */
const tagLike = fc.constantFrom(0x0a, 0x12, 0x1a, 0x22, 0x08, 0x10, 0x7a, 0xc0, 0x3e, 0x80, 0x01, 0x00, 0x02);
const anyBytes = fc.oneof(
  fc.uint8Array({ maxLength: 40 }),
  fc
    .array(fc.oneof(tagLike, fc.integer({ min: 0, max: 255 })), { maxLength: 40 })
    .map((bytes) => Uint8Array.from(bytes)),
  fc
    .tuple(arbitraryMessage, fc.array(fc.tuple(fc.noBias(fc.nat()), fc.integer({ min: 0, max: 255 }))))
    .map(([message, changes]) => {
      const bytes = encode(message);
      for (const [at, byte] of changes) if (bytes.length > 0) bytes[at % bytes.length] = byte;
      return bytes;
    }),
  arbitraryMessage.map(encode),
);

describe('scanMessage', () => {
  it('finds the key of any message that the generated encoder writes', () => {
    fc.assert(
      fc.property(arbitraryMessage, (message) => {
        assert.deepEqual(scannedKey(encode(message)), Buffer.from(message.key ?? []));
      }),
      { numRuns: 1_000 },
    );
  });

  it('agrees with the generated decoder about any bytes, but for the listed differences', () => {
    const counts = { taken: 0, refused: 0 };
    fc.assert(
      fc.property(anyBytes, (bytes) => {
        let key: Buffer | undefined;
        const refusal = thrownBy(() => {
          key = scannedKey(bytes);
        });
        if (refusal === undefined) {
          counts.taken++;
          assert.deepEqual(key, Buffer.from(fromBinary(MessageSchema, bytes).key));
          return;
        }
        counts.refused++;
        if (isDeliberate(refusal) || mayEndTooLate(refusal, bytes)) return;
        const decoderRefusal = thrownBy(() => fromBinary(MessageSchema, bytes));
        assert.notEqual(decoderRefusal, undefined, `a decoder takes what was refused: ${String(refusal)}`);
      }),
      { numRuns: 20_000 },
    );
    assert(counts.taken > 1_000 && counts.refused > 1_000, JSON.stringify(counts));
  });
});

describe('entries', () => {
  it('end where the generated encoder ends them, and have its keys', () => {
    fc.assert(
      fc.property(fc.array(arbitraryMessage, { maxLength: 6 }), (inits) => {
        const messages = entriesOf(inits);
        const ends = entryEnds(messages, inits.length);
        const lengths = numbersOfKeys(messages, inits.length, (_, from, to) => to - from);
        inits.forEach((init, index) => {
          const entry = messageEntry({ messages, ends }, index);
          assert.deepEqual(fromBinary(MessageSchema, messageOf(entry)), create(MessageSchema, init));
          const { from, to } = messageKeyRange(entry);
          assert.deepEqual(Buffer.from(entry.subarray(from, to)), Buffer.from(init.key ?? []));
          assert.equal(lengths[index], to - from);
        });
      }),
      { numRuns: 300 },
    );
  });
});

describe('appendOrigin', () => {
  const place = fc.record({
    topic: text,
    subscription: text,
    subscriptionId: fc.nat(2 ** 31),
    partition: fc.nat(1000),
  });

  /** Appends the origin once for each place, in order. */
  function deadLetterOf(
    message: MessageInit,
    places: readonly (typeof place extends fc.Arbitrary<infer T> ? T : never)[],
  ) {
    const headers = places.map(({ topic, subscription, partition }) => ({
      [deadLetterHeaders.topic]: topic,
      [deadLetterHeaders.subscription]: subscription,
      [deadLetterHeaders.partition]: String(partition),
      [deadLetterHeaders.time]: '2026-02-03T04:05:06.007Z',
    }));
    const entry = places.reduce(
      (bytes, { subscriptionId }, i) => appendOrigin(bytes, subscriptionId, headers[i]!),
      entriesOf([message]),
    );
    return { entry, headers: headers.at(-1)! };
  }

  it('adds the headers to the message and changes nothing else; the last origin counts', () => {
    fc.assert(
      fc.property(arbitraryMessage, fc.array(place, { minLength: 1, maxLength: 3 }), (message, places) => {
        const { entry, headers } = deadLetterOf(message, places);
        const decoded = fromBinary(MessageSchema, messageOf(entry), { readUnknownFields: false });
        const meant = { ...message, headers: { ...message.headers, ...headers } };
        assert.deepEqual(decoded, create(MessageSchema, meant));
        assert.deepEqual(originOf(entry), { ...places.at(-1)!, timeMs: Date.UTC(2026, 1, 3, 4, 5, 6, 7) });
        assert.deepEqual([...entryEnds(entry, 1)], [entry.length]);
      }),
      { numRuns: 500 },
    );
  });
});

describe('field numbers', () => {
  const tagOf = ({ number }: DescField, wireType = WireType.LengthDelimited) => (number << 3) | wireType;

  it('are those of the generated code', () => {
    const { field } = MessageSchema;
    assert.equal(fields.keyTag, tagOf(field.key));
    assert.equal(fields.keyField, field.key.number);
    assert.equal(fields.payloadTag, tagOf(field.payload));
    assert.equal(fields.headersTag, tagOf(field.headers));
    assert.equal(fields.headersField, field.headers.number);
    assert.equal(fields.eventTimeTag, tagOf(field.eventTime));
    assert.equal(fields.lastMessageField, Math.max(...MessageSchema.fields.map(({ number }) => number)));
    for (const { field: each } of [PublishRequestSchema, MessageRunSchema]) {
      assert.equal(fields.messagesField, each.messages.number);
      assert.equal(fields.messagesTag, tagOf(each.messages));
    }
    assert.equal(fields.secondsTag, tagOf(TimestampSchema.field.seconds, WireType.Varint));
    assert.equal(fields.nanosTag, tagOf(TimestampSchema.field.nanos, WireType.Varint));
  });
});

import assert from 'node:assert/strict';
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import fc from 'fast-check';
import {
  findBatchId,
  PublishScanner,
  type ScannedBatch,
} from '../../../../src/api/sluice-v1/publish-scan.js';
import { SluiceError } from '../../../../src/base/errors.js';
import { limits } from '../../../../src/base/limits.js';
import type { Reason } from '../../../../src/base/reasons.js';
import { PublishRequestSchema, PublishStreamRequestSchema } from '../../../../src/gen/sluice/v1/broker_pb.js';
import type { MessageSchema } from '../../../../src/gen/sluice/v1/message_pb.js';

const scanLimits = { maxMessageBytes: 10_000, maxRequestBytes: 100_000 };

function encode(request: MessageInitShape<typeof PublishStreamRequestSchema>): Uint8Array {
  return toBinary(PublishStreamRequestSchema, create(PublishStreamRequestSchema, request));
}

function scan(bytes: Uint8Array): ScannedBatch {
  return new PublishScanner(scanLimits, 'PublishStream').scan(bytes);
}

/** Bytes of a request for topic "t" that holds one message with these bytes. */
function requestWith(message: Uint8Array): Uint8Array {
  return new BinaryWriter()
    .tag(1, WireType.LengthDelimited)
    .string('t')
    .tag(15, WireType.LengthDelimited)
    .bytes(message)
    .finish();
}

function message(write: (writer: BinaryWriter) => void): Uint8Array {
  const writer = new BinaryWriter();
  write(writer);
  return requestWith(writer.finish());
}

function refused(bytes: Uint8Array, reason: Reason, field?: string | RegExp): SluiceError {
  try {
    scan(bytes);
  } catch (thrown) {
    assert(thrown instanceof SluiceError, String(thrown));
    assert.equal(thrown.reason, reason, thrown.message);
    if (typeof field === 'string') assert.equal(thrown.details.field, field);
    else if (field !== undefined) assert.match(thrown.message, field);
    return thrown;
  }
  throw new assert.AssertionError({ message: `accepted, and not refused with ${reason}` });
}

const text = fc.string({ unit: 'grapheme', maxLength: 12 });
const arbitraryMessage: fc.Arbitrary<MessageInitShape<typeof MessageSchema>> = fc.record(
  {
    key: fc.uint8Array({ maxLength: 40 }),
    payload: fc.uint8Array({ maxLength: 300 }),
    headers: fc.dictionary(
      text.filter((name) => !name.startsWith('sluice-')),
      text,
    ),
    eventTime: fc.record({
      seconds: fc.bigInt(-62_135_596_800n, 253_402_300_799n),
      nanos: fc.integer({ min: 0, max: 999_999_999 }),
    }),
  },
  { requiredKeys: [] },
);
const safe = fc.bigInt(0n, BigInt(Number.MAX_SAFE_INTEGER));
const arbitraryRequest: fc.Arbitrary<MessageInitShape<typeof PublishStreamRequestSchema>> = fc.record(
  {
    topic: fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,20}$/),
    partition: fc.nat(),
    producer: fc.record({
      producerId: fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,20}$/),
      epoch: safe.filter((epoch) => epoch < BigInt(Number.MAX_SAFE_INTEGER)),
      firstSequence: safe.filter((sequence) => sequence > 0n),
    }),
    batchId: fc.bigInt(0n, 2n ** 64n - 1n),
    messages: fc.array(arbitraryMessage, { maxLength: 8 }),
  },
  { requiredKeys: ['topic', 'messages'] },
);

/** What the scanner found is what a decoder finds. */
function expectSame(batch: ScannedBatch, bytes: Uint8Array): void {
  const decoded = fromBinary(PublishStreamRequestSchema, bytes);
  assert.equal(batch.topic, decoded.topic);
  assert.equal(batch.partition, decoded.partition);
  assert.equal((BigInt(batch.batchId.high) << 32n) | BigInt(batch.batchId.low), decoded.batchId);
  assert.deepEqual(
    batch.producer,
    decoded.producer && {
      producerId: decoded.producer.producerId,
      epoch: Number(decoded.producer.epoch),
      firstSequence: Number(decoded.producer.firstSequence),
    },
  );
  assert.equal(batch.bounds.length, 4 * decoded.messages.length);
  decoded.messages.forEach((expected, i) => {
    const [start, end, keyStart, keyEnd] = batch.bounds.slice(4 * i);
    const alone = fromBinary(PublishRequestSchema, bytes.subarray(start, end));
    assert.deepEqual(alone.messages, [expected]);
    assert.deepEqual(Buffer.from(bytes.subarray(keyStart, keyEnd)), Buffer.from(expected.key));
  });
}

const alteration = fc.record({
  at: fc.noBias(fc.nat()),
  kind: fc.constantFrom('replace', 'replace', 'replace', 'insert', 'remove', 'cut' as const),
  byte: fc.integer({ min: 0, max: 255 }),
});

function alter(
  request: Uint8Array,
  changes: readonly (typeof alteration extends fc.Arbitrary<infer T> ? T : never)[],
): Uint8Array {
  const bytes = [...request];
  for (const { at, kind, byte } of changes) {
    const i = at % (bytes.length + 1);
    if (kind === 'replace') bytes[i] = byte;
    else if (kind === 'insert') bytes.splice(i, 0, byte);
    else if (kind === 'remove') bytes.splice(i, 1);
    else bytes.length = i;
  }
  return Uint8Array.from(bytes);
}

describe('PublishScanner', () => {
  it('finds in any valid request what a decoder finds', () => {
    fc.assert(
      fc.property(arbitraryRequest, (request) => {
        const bytes = encode(request);
        expectSame(scan(bytes), bytes);
      }),
      { numRuns: 500 },
    );
  });

  it('never accepts altered bytes that a decoder rejects, and throws nothing but SluiceError', () => {
    let acceptedCount = 0;
    fc.assert(
      fc.property(
        arbitraryRequest,
        fc.array(alteration, { minLength: 1, maxLength: 2 }),
        (request, changes) => {
          const altered = alter(encode(request), changes);
          let batch: ScannedBatch;
          try {
            batch = scan(altered);
          } catch (thrown) {
            assert(thrown instanceof SluiceError, String(thrown));
            return;
          }
          acceptedCount++;
          expectSame(batch, altered);
        },
      ),
      { numRuns: 10_000 },
    );
    assert(acceptedCount > 300, 'too few alterations went unnoticed to say anything');
  });

  it('keeps the bytes after which the broker keeps the request', () => {
    const bytes = encode({ topic: 't', messages: [{}] });
    assert.equal(scan(bytes).source, bytes);
  });

  it('takes the last key of a message that has two', () => {
    const bytes = message((w) => {
      w.tag(1, WireType.LengthDelimited).bytes(Buffer.from('first'));
      w.tag(1, WireType.LengthDelimited).bytes(Buffer.from('last'));
    });
    const [, , keyStart, keyEnd] = scan(bytes).bounds;
    assert.equal(Buffer.from(bytes.subarray(keyStart, keyEnd)).toString(), 'last');
  });

  it('keeps fields of a message that are not the broker’s, from 16 on', () => {
    assert.equal(scan(message((w) => w.tag(16, WireType.Varint).uint32(1))).bounds.length, 4);
    const bytes = message((w) => {
      w.tag(100, WireType.Varint).uint64(2n ** 64n - 1n);
      w.tag(101, WireType.Bit64).double(1);
      w.tag(102, WireType.Bit32).float(1);
      w.tag(103, WireType.LengthDelimited).string('new');
    });
    assert.equal(scan(bytes).bounds.length, 4);
  });

  it('refuses fields of a message that a later broker may know, up to 15', () => {
    for (let field = 5; field <= 15; field++) {
      const bytes = message((w) =>
        w.tag(2, WireType.LengthDelimited).string('x').tag(field, WireType.Varint).uint32(1),
      );
      const error = refused(bytes, 'UNIMPLEMENTED', `messages[0].${field}`);
      assert.match(error.message, new RegExp(`field ${field} of sluice.v1.Message`));
    }
    refused(
      message((w) => w.tag(5, WireType.LengthDelimited).bytes(Uint8Array.of(1)).tag(6, WireType.StartGroup)),
      'UNIMPLEMENTED',
    );
  });

  it('refuses every field of a request or a sequence that it does not know', () => {
    for (const field of [5, 14, 16, 900]) {
      const request = new BinaryWriter()
        .raw(encode({ topic: 't' }))
        .tag(field, WireType.Varint)
        .uint32(1);
      refused(request.finish(), 'UNIMPLEMENTED', String(field));
    }
    const sequence = new BinaryWriter().tag(1, WireType.LengthDelimited).string('p');
    const bytes = sequence.tag(4, WireType.Varint).uint32(1).finish();
    const request = new BinaryWriter().raw(encode({ topic: 't' })).tag(3, WireType.LengthDelimited);
    refused(request.bytes(bytes).finish(), 'UNIMPLEMENTED', 'producer.4');
  });

  describe('refuses', () => {
    it('groups', () => {
      refused(
        message((w) => w.tag(100, WireType.StartGroup).tag(100, WireType.EndGroup)),
        'MALFORMED_REQUEST',
        /groups/,
      );
    });

    it('field number 0', () => {
      refused(requestWith(Uint8Array.of(0x00, 0x01)), 'MALFORMED_REQUEST', /field number 0/);
    });

    it('wrong wire types of every known field', () => {
      for (const field of [1, 2, 3, 4]) {
        const wrong = message((w) => w.tag(field, WireType.Varint).uint32(1));
        refused(wrong, 'MALFORMED_REQUEST', /messages\[0\]: field \d has wire type 0/);
      }
      refused(
        new BinaryWriter().tag(15, WireType.Varint).uint32(1).finish(),
        'MALFORMED_REQUEST',
        /field 15/,
      );
    });

    it('a length that points past its message, although the request goes on', () => {
      const bytes = new BinaryWriter()
        .tag(1, WireType.LengthDelimited)
        .string('t')
        .tag(15, WireType.LengthDelimited)
        .bytes(Uint8Array.of(0x12, 0x03, 0x01))
        .tag(15, WireType.LengthDelimited)
        .bytes(new Uint8Array(8))
        .finish();
      refused(bytes, 'MALFORMED_REQUEST', /a length points past its end/);
    });

    it('numbers that other languages refuse', () => {
      const overlongTag = Uint8Array.of(0x92, 0x80, 0x80, 0x80, 0x80, 0x00, 0x00);
      refused(requestWith(overlongTag), 'MALFORMED_REQUEST', /32 bits/);
      const overlongNumber = Uint8Array.of(0xa0, 0x06, ...new Array(9).fill(0xff), 0x02);
      refused(requestWith(overlongNumber), 'MALFORMED_REQUEST', /64 bits/);
    });

    it('another spelling of the tag that the store looks for', () => {
      refused(Uint8Array.of(0xfa, 0x00, 0x00), 'MALFORMED_REQUEST', /more than one byte/);
    });

    it('headers that are not UTF-8, in name or value', () => {
      for (const field of [1, 2]) {
        const entry = new BinaryWriter()
          .tag(field, WireType.LengthDelimited)
          .bytes(Uint8Array.of(0x61, 0xff));
        const bytes = message((w) => w.tag(3, WireType.LengthDelimited).bytes(entry.finish()));
        refused(bytes, 'MALFORMED_REQUEST', /messages\[0\].*UTF-8/);
      }
    });

    it('headers with a name that is the broker’s', () => {
      const bytes = encode({ topic: 't', messages: [{}, { headers: { 'sluice-reason': 'x' } }] });
      refused(bytes, 'RESERVED_HEADER', 'messages[1].headers');
    });

    it('event times outside the calendar', () => {
      for (const eventTime of [
        { seconds: 253_402_300_800n },
        { seconds: -62_135_596_801n },
        { nanos: -1 },
        { nanos: 1e9 },
      ]) {
        refused(encode({ topic: 't', messages: [{ eventTime }] }), 'INVALID_FIELD', 'messages[0].event_time');
      }
    });

    it('keys, messages and requests that are too large', () => {
      const key = new Uint8Array(limits.maxKeyBytes + 1);
      refused(encode({ topic: 't', messages: [{ key }] }), 'INVALID_FIELD', 'messages[0].key');
      const payload = new Uint8Array(scanLimits.maxMessageBytes);
      refused(encode({ topic: 't', messages: [{}, { payload }] }), 'MESSAGE_TOO_LARGE', 'messages[1]');
      const messages = Array.from({ length: 11 }, () => ({ payload: new Uint8Array(9_900) }));
      refused(encode({ topic: 't', messages }), 'REQUEST_TOO_LARGE', /108/);
    });

    it('more messages than a request may hold', () => {
      const header = encode({ topic: 't' });
      const bytes = new Uint8Array(header.length + 2 * (limits.maxMessagesPerRequest + 1));
      bytes.set(header);
      for (let i = header.length; i < bytes.length; i += 2) bytes[i] = 0x7a;
      const scanner = new PublishScanner({ maxMessageBytes: 1, maxRequestBytes: bytes.length }, 'Publish');
      assert.throws(() => scanner.scan(bytes), { reason: 'INVALID_FIELD' });
      const fits = scanner.scan(bytes.subarray(0, -2));
      assert.equal(fits.bounds.length, 4 * limits.maxMessagesPerRequest);
    });

    it('producers without a name or a number', () => {
      const messages = [{}];
      refused(encode({ topic: 't', messages, producer: {} }), 'INVALID_NAME', 'producer.producer_id');
      const unnumbered = { producerId: 'p' };
      refused(
        encode({ topic: 't', messages, producer: unnumbered }),
        'INVALID_FIELD',
        'producer.first_sequence',
      );
      const tooHigh = { producerId: 'p', epoch: 2n ** 60n, firstSequence: 1n };
      refused(encode({ topic: 't', messages, producer: tooHigh }), 'INVALID_FIELD', 'producer.epoch');
    });

    it('names outside the pattern', () => {
      for (const topic of ['a b', '.a', 'ä', 'a/b', 'x'.repeat(201)]) {
        refused(encode({ topic, messages: [{}] }), 'INVALID_NAME', 'topic');
      }
    });

    it('a stream that never named its topic, and a request that says nothing', () => {
      const { details } = refused(encode({ messages: [{}] }), 'INVALID_FIELD', /must name its topic/);
      assert.deepEqual(details, { subject: 'topic' });
      const scanner = new PublishScanner(scanLimits, 'Publish');
      assert.equal(scanner.scan(encode({ topic: 't' })).bounds.length, 0);
      assert.throws(() => scanner.scan(new Uint8Array(0)), { reason: 'INVALID_FIELD' });
    });
  });

  it('keeps the topic of the request before, also where that was refused', () => {
    const scanner = new PublishScanner(scanLimits, 'Publish');
    const refusedFirst = encode({ topic: 't', messages: [{ headers: { 'sluice-x': '' } }] });
    assert.throws(() => scanner.scan(refusedFirst), { reason: 'RESERVED_HEADER' });
    assert.equal(scanner.scan(encode({ messages: [{}] })).topic, 't');
  });

  it('takes no batch id for Publish, where field 4 is unknown', () => {
    const bytes = encode({ topic: 't', batchId: 9n, messages: [{}] });
    assert.deepEqual(new PublishScanner(scanLimits, 'Publish').scan(bytes).batchId, { low: 0, high: 0 });
  });
});

describe('findBatchId', () => {
  it('finds it as long as the fields around it are whole', () => {
    assert.deepEqual(findBatchId(encode({ batchId: 2n ** 40n + 5n, messages: [{}] })), { low: 5, high: 256 });
    assert.deepEqual(findBatchId(encode({ messages: [{}] })), { low: 0, high: 0 });
    const broken = Uint8Array.of(...encode({ batchId: 5n }), 0x7a, 0x05, 0x01);
    assert.deepEqual(findBatchId(broken), { low: 5, high: 0 });
    assert.equal(findBatchId(Uint8Array.of(0x7a, 0x05, 0x01)), undefined);
  });
});

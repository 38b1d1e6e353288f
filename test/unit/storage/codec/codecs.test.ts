import assert from 'node:assert/strict';
import fc from 'fast-check';
import { InvariantError } from '../../../../src/base/invariant.js';
import type { CursorState } from '../../../../src/base/positions.js';
import { SpareMemory } from '../../../../src/base/spare-memory.js';
import { entryEnds } from '../../../../src/envelope/entries.js';
import { decodeCounters, encodeCounters } from '../../../../src/storage/codec/counters.js';
import { decodeCursor, encodeCursor } from '../../../../src/storage/codec/cursor.js';
import { decodeDeadLetter, encodeDeadLetter } from '../../../../src/storage/codec/dead-letter.js';
import { decodeExtent, encodeExtent } from '../../../../src/storage/codec/extent.js';
import { decodeProducer, encodeProducer } from '../../../../src/storage/codec/producer.js';
import { decodeRedrive, encodeRedrive } from '../../../../src/storage/codec/redrive.js';
import { sealInPlace, unseal } from '../../../../src/storage/codec/sealed-value.js';
import { decodeSubscription, encodeSubscription } from '../../../../src/storage/codec/subscription.js';
import { decodeTopic, encodeTopic } from '../../../../src/storage/codec/topic.js';
import { RoundBuilder, visitRound } from '../../../../src/storage/commit/round.js';
import * as keys from '../../../../src/storage/engine/keys.js';
import { decodeSyncedOffsets, encodeSyncedOffsets } from '../../../../src/storage/recovery/synced-offsets.js';
import { entry } from '../../../integration/storage/harness.js';

/** Records as the code makes them. */
function plain<T>(shape: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record(shape, { noNullPrototype: true }) as fc.Arbitrary<T>;
}

const offset = fc.maxSafeNat();
const id = fc.integer({ min: 1, max: 2 ** 32 - 2 });
const partition = fc.integer({ min: 0, max: 2 ** 16 - 1 });
const count = fc.integer({ min: 0, max: 2 ** 31 });

const cursor: fc.Arbitrary<CursorState> = plain({
  acknowledgedOffset: fc.integer({ min: 0, max: 2 ** 50 }),
  gaps: fc.array(fc.tuple(fc.integer({ min: 1, max: 2 ** 30 }), fc.integer({ min: 1, max: 2 ** 30 }))),
  failed: fc.array(plain({ offset, attempts: fc.integer({ min: 1, max: 10_000 }) })),
  deadLetterCount: offset,
}).map(({ acknowledgedOffset, gaps, failed, deadLetterCount }) => {
  let end = acknowledgedOffset;
  const settled = gaps.map(([gap, length]) => {
    const first = end + gap;
    end = first + length;
    return { first, last: end - 1 };
  });
  return { acknowledgedOffset, settled, failed, deadLetterCount };
});

describe('cursor codec', () => {
  it('reads back any cursor', () => {
    fc.assert(fc.property(cursor, (state) => assert.deepEqual(decodeCursor(encodeCursor(state)), state)));
  });

  it('reads back how far a redrive has come', () => {
    fc.assert(fc.property(offset, (come) => assert.equal(decodeRedrive(encodeRedrive(come)), come)));
  });

  it('stays small where a partition has come far', () => {
    const settled = Array.from({ length: 100 }, (_, index) => {
      const first = 2 ** 50 + 3 * index + 1;
      return { first, last: first };
    });
    const state = { acknowledgedOffset: 2 ** 50, settled, failed: [], deadLetterCount: 0 };
    assert(encodeCursor(state).length < 250, 'two bytes an interval');
  });
});

describe('metadata codec', () => {
  it('reads back any topic', () => {
    const topic = plain({
      topicId: id,
      config: plain({
        name: fc.string(),
        partitionCount: count,
        retention: plain({
          maxAgeMs: offset,
          maxBytes: offset,
          untilAcknowledged: fc.boolean(),
          dropUnacknowledged: fc.boolean(),
        }),
        backlogLimit: plain({
          maxBytes: offset,
          maxMessages: offset,
          whenFull: fc.constantFrom('block' as const, 'reject' as const),
        }),
        durability: fc.constantFrom(undefined, 'written' as const, 'synced' as const),
        createTimeMs: offset,
      }),
    });
    fc.assert(fc.property(topic, (value) => assert.deepEqual(decodeTopic(encodeTopic(value)), value)));
  });

  it('reads back any subscription, which gets the name of its topic from there', () => {
    const subscription = plain({
      subscriptionId: id,
      topicId: id,
      config: plain({
        topic: fc.constant('orders'),
        name: fc.string(),
        ordering: fc.constantFrom('partition' as const, 'key' as const, 'none' as const),
        ackDeadlineMs: offset,
        minBackoffMs: offset,
        maxBackoffMs: offset,
        deadLetter: plain({ maxAttempts: count, topic: fc.string(), isDisabled: fc.boolean() }),
        createTimeMs: offset,
      }),
    });
    fc.assert(
      fc.property(subscription, (value) => {
        assert.deepEqual(
          decodeSubscription(encodeSubscription(value), () => 'orders'),
          value,
        );
      }),
    );
  });

  it('reads back counters, producers, dead letters and extents', () => {
    fc.assert(
      fc.property(id, id, offset, offset, offset, offset, offset, (a, b, c, d, e, f, g) => {
        const counters = { nextTopicId: a, nextSubscriptionId: b };
        assert.deepEqual(decodeCounters(encodeCounters(counters)), counters);
        const producer = { epoch: c, lastSequence: d, baseSequence: e, ...(f !== 0 && { claimId: f }) };
        assert.deepEqual(decodeProducer(encodeProducer(producer)), producer);
        assert.deepEqual(decodeDeadLetter(encodeDeadLetter({ attempts: a })), { attempts: a });
        const extent = {
          firstOffset: c,
          endOffset: d,
          firstPosition: e,
          endPosition: f,
          lastPublishTimeMs: g,
          clockSteps: [d, c].slice(a % 3),
        };
        assert.deepEqual(decodeExtent(encodeExtent(extent)), extent);
      }),
    );
  });
});

describe('keys', () => {
  it('sort by topic, then by offset', () => {
    fc.assert(
      fc.property(id, id, offset, offset, (topicA, topicB, offsetA, offsetB) => {
        const order = Math.sign(topicA - topicB || offsetA - offsetB);
        assert.equal(Buffer.compare(keys.logKey(topicA, offsetA), keys.logKey(topicB, offsetB)), order);
        assert.equal(keys.lastOffsetOfLogKey(keys.logKey(topicA, offsetA)), offsetA);
      }),
    );
  });

  it('lie in the ranges of their topic or subscription, and in no other', () => {
    fc.assert(
      fc.property(id, id, partition, offset, fc.string(), (owner, other, part, at, name) => {
        const ranges: [Buffer, keyof typeof byRange][] = [
          [keys.logKey(owner, at), 'log'],
          [keys.producerKey(owner, name), 'producers'],
          [keys.cursorKey(owner, part), 'subscription'],
          [keys.deadLetterKey(owner, part, at), 'subscription'],
          [keys.redriveKey(owner, other, part), 'subscription'],
        ];
        for (const [key, range] of ranges) {
          assert.equal(isIn(key, byRange[range](other)), owner === other);
          assert(isIn(key, byRange[range](owner)));
        }
        const redriveKey = keys.redriveKey(owner, other, part);
        assert(isIn(redriveKey, keys.redriveRange(owner, other)));
        assert.equal(isIn(redriveKey, keys.redriveRange(owner, owner)), owner === other);
        assert(!isIn(keys.deadLetterKey(owner, part, at), keys.redriveRange(owner, other)));
        assert.equal(keys.partitionOfRedriveKey(redriveKey), part);
        assert.equal(keys.partitionOfExtentKey(keys.extentKey(owner, part)), part);
        assert.equal(keys.idOfMetadataKey(keys.extentKey(owner, part)), owner);
        assert(isIn(keys.extentKey(owner, part), keys.metadataRange));
      }),
    );
  });
});

const byRange = {
  log: (topicId: number) => keys.logRange(topicId, 0),
  producers: keys.producerRange,
  subscription: keys.subscriptionRange,
};

function isIn(key: Buffer, { gte, lt }: { gte: Buffer; lt: Buffer }): boolean {
  return Buffer.compare(key, gte) >= 0 && Buffer.compare(key, lt) < 0;
}

describe('round', () => {
  const bytes = fc.uint8Array({ maxLength: 50 }).map((value) => Buffer.from(value));
  const operation = plain({
    kind: fc.constantFrom('put', 'delete', 'clear'),
    column: partition,
    key: bytes,
    value: bytes,
  });

  it('shows its operations as they were added', () => {
    fc.assert(
      fc.property(fc.array(operation), (operations) => {
        const builder = new RoundBuilder();
        const added = operations.map(({ kind, column, key, value }) => {
          if (kind === 'put') builder.put(column, key, value);
          else if (kind === 'delete') builder.delete(column, key);
          else builder.clear(column, { gte: key, lt: value });
          return [kind, column, key.toString('hex'), kind === 'delete' ? '' : value.toString('hex')];
        });
        const seen: unknown[] = [];
        visitRound(builder.build(new SpareMemory(0)), {
          put: (column, key, value) => {
            sealInPlace(key, value);
            seen.push(['put', column, key.toString('hex'), unseal(key, value).toString('hex')]);
          },
          delete: (column, key) => seen.push(['delete', column, key.toString('hex'), '']),
          record: () => assert.fail('no record was added'),
          clearFirst: () => assert.fail('no range was cleared first'),
          clear: (column, { gte, lt }) =>
            seen.push(['clear', column, gte.toString('hex'), lt.toString('hex')]),
        });
        assert.deepEqual(seen, added);
      }),
    );
  });
});

describe('message entries', () => {
  it('end where the next begins', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 400 }), { minLength: 1 }), (messages) => {
        const entries = messages.map(entry);
        let end = 0;
        const expected = entries.map(({ length }) => (end += length));
        assert.deepEqual([...entryEnds(Buffer.concat(entries), messages.length)], expected);
      }),
    );
  });

  it('are refused when cut off, miscounted or of another field', () => {
    const bytes = entry('message');
    assert.throws(() => entryEnds(bytes.subarray(0, -1), 1), InvariantError);
    assert.throws(() => entryEnds(bytes, 2), InvariantError);
    assert.throws(() => entryEnds(Buffer.concat([bytes, bytes]), 1), InvariantError);
    assert.throws(() => entryEnds(Buffer.of(0x72, 0), 1), InvariantError);
    assert.throws(() => entryEnds(Buffer.of(0x7a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0), 1), InvariantError);
  });
});

describe('synced offsets', () => {
  it('are read back, and not when a byte was altered', () => {
    const offsets = [
      { topicId: 1, partition: 0, endOffset: 5 },
      { topicId: 2 ** 32 - 2, partition: 2 ** 16 - 1, endOffset: Number.MAX_SAFE_INTEGER },
    ];
    const bytes = encodeSyncedOffsets(offsets);
    assert.deepEqual(decodeSyncedOffsets(bytes), offsets);
    assert.deepEqual(decodeSyncedOffsets(encodeSyncedOffsets([])), []);
    for (let at = 0; at < bytes.length; at++) {
      bytes[at]! ^= 0x10;
      assert.equal(decodeSyncedOffsets(bytes), undefined, `byte ${at}`);
      bytes[at]! ^= 0x10;
    }
    assert.equal(decodeSyncedOffsets(bytes.subarray(0, -1)), undefined);
    assert.equal(decodeSyncedOffsets(Buffer.alloc(0)), undefined);
  });
});

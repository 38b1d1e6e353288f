import assert from 'node:assert/strict';
import fc from 'fast-check';
import { limits } from '../../../../src/base/limits.js';
import {
  DamagedRecord,
  type RecordDraft,
  readRecord,
  recordByteLength,
  sealRecord,
  writeRecord,
} from '../../../../src/storage/codec/record.js';
import { RecordPlanner } from '../../../../src/storage/commit/record-planner.js';
import { logKey } from '../../../../src/storage/engine/keys.js';
import type { Append } from '../../../../src/storage/types.js';
import { entry } from '../../../integration/storage/harness.js';

const topicId = 7;

function encode(draft: RecordDraft): { key: Buffer; value: Buffer } {
  const { firstOffset, count } = draft.outline;
  const key = logKey(topicId, firstOffset + count - 1);
  const value = Buffer.alloc(recordByteLength(draft.outline));
  writeRecord(draft, value, 0);
  sealRecord(key, value);
  return { key, value };
}

const messages = fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1, maxLength: 20 });

/** Appends whose messages are spread over chunks in any way. */
const appends: fc.Arbitrary<Append[]> = fc.array(
  fc
    .record({
      messages,
      producerId: fc.constantFrom('', '', 'p', 'Größe'),
      targetSubscriptionId: fc.constantFrom(0, 0, 1, 2 ** 32 - 2),
      perChunk: fc.integer({ min: 1, max: 9 }),
    })
    .map(({ messages, producerId, targetSubscriptionId, perChunk }) => {
      const entries = messages.map(entry);
      const chunks: Buffer[] = [];
      for (let at = 0; at < entries.length; at += perChunk) {
        chunks.push(Buffer.concat(entries.slice(at, at + perChunk)));
      }
      const byteLength = entries.reduce((bytes, { length }) => bytes + length, 0);
      return {
        kind: 'append' as const,
        topicId,
        partition: 3,
        producerId,
        targetSubscriptionId,
        chunks,
        count: entries.length,
        byteLength,
      };
    }),
  { minLength: 1, maxLength: 10 },
);

function plan(planned: readonly Append[], firstOffset = 1_000, position = 5_000): readonly RecordDraft[] {
  const planner = new RecordPlanner(3, 1_700_000_000_000, firstOffset, position);
  for (const append of planned) planner.add(append);
  return planner.finish();
}

describe('record', () => {
  it('reads back what was written, byte for byte', () => {
    fc.assert(
      fc.property(appends, fc.integer({ min: 0, max: 2 ** 52 }), (planned, firstOffset) => {
        let offset = firstOffset;
        let position = 77;
        const read = plan(planned, firstOffset, position).flatMap((draft) => {
          const { key, value } = encode(draft);
          const record = readRecord(key, value, 3);
          assert.equal(record.firstOffset, offset);
          assert.equal(record.position, position);
          assert.equal(record.publishTimeMs, 1_700_000_000_000);
          offset = record.lastOffset + 1;
          position += record.runs.reduce((bytes, run) => bytes + run.messages.length, 0);
          return record.runs;
        });
        const sent = planned.map((append) => ({
          id: append.producerId,
          bytes: Buffer.concat(append.chunks),
        }));
        assert.deepEqual(
          Buffer.concat(read.map((run) => run.messages)),
          Buffer.concat(sent.map(({ bytes }) => bytes)),
        );
        // Message by message: whose each is, and for whom.
        const headers = (each: { producerId: string; targetSubscriptionId?: number; count: number }) =>
          Array.from({ length: each.count }, () => [each.producerId, each.targetSubscriptionId]);
        assert.deepEqual(read.flatMap(headers), planned.flatMap(headers));
        assert.equal(offset, firstOffset + planned.reduce((count, append) => count + append.count, 0));
      }),
    );
  });

  it('finds every altered byte of value and key', () => {
    const { key, value } = encode(
      plan([{ ...single('payload'), producerId: 'producer', targetSubscriptionId: 9 }])[0]!,
    );
    for (const bytes of [key, value]) {
      for (let at = 0; at < bytes.length; at++) {
        for (const bit of [0x01, 0x80]) {
          bytes[at]! ^= bit;
          assert.throws(() => readRecord(key, value, 3), DamagedRecord, `byte ${at}`);
          bytes[at]! ^= bit;
        }
      }
    }
    assert.throws(() => readRecord(key, value, 4), DamagedRecord, 'in another partition');
    assert.throws(() => readRecord(key, value.subarray(0, -1), 3), DamagedRecord, 'cut off');
    assert.throws(() => readRecord(key, value.subarray(0, 5), 3), DamagedRecord, 'cut off in the header');
    assert.equal(readRecord(key, value, 3).count, 1);
  });
});

function single(payload: string | Uint8Array): Append {
  const chunk = entry(payload);
  return {
    kind: 'append' as const,
    topicId,
    partition: 3,
    producerId: '',
    chunks: [chunk],
    count: 1,
    byteLength: chunk.length,
  };
}

describe('record planner', () => {
  it('merges neighbours of one producer into a run', () => {
    const [record, ...rest] = plan([
      single('a'),
      single('b'),
      { ...single('c'), producerId: 'p' },
      single('d'),
    ]);
    assert.deepEqual(rest, []);
    assert.deepEqual(
      record!.outline.runs.map(({ producerId, count }) => [producerId, count]),
      [
        ['', 2],
        ['p', 1],
        ['', 1],
      ],
    );
  });

  it('keeps messages for one subscription apart from those for others', () => {
    const [record, ...rest] = plan([
      single('a'),
      { ...single('b'), targetSubscriptionId: 0 },
      { ...single('c'), targetSubscriptionId: 7 },
      { ...single('d'), targetSubscriptionId: 7 },
      { ...single('e'), targetSubscriptionId: 8 },
    ]);
    assert.deepEqual(rest, []);
    assert.deepEqual(
      record!.outline.runs.map(({ targetSubscriptionId, count }) => [targetSubscriptionId, count]),
      [
        [0, 2],
        [7, 2],
        [8, 1],
      ],
    );
  });

  it('splits at message boundaries near the limit, and leaves a larger message whole', () => {
    const sizes = [10, 100_000, 100_000, 100_000, limits.recordBytes + 5, 20, 30];
    const chunk = Buffer.concat(sizes.map((size) => entry(Buffer.alloc(size))));
    const append = { ...single(''), chunks: [chunk], count: sizes.length, byteLength: chunk.length };
    const records = plan([append, single('after')]);
    assert.deepEqual(
      records.map(({ outline: { firstOffset, count } }) => [firstOffset, count]),
      [
        [1_000, 3],
        [1_003, 1],
        [1_004, 1],
        [1_005, 3],
      ],
    );
    const bytes = records.flatMap(({ chunks }) => chunks);
    assert.deepEqual(Buffer.concat(bytes), Buffer.concat([chunk, entry('after')]));
  });

  it('does not tear an append apart that fits into a record of its own', () => {
    const half = Buffer.alloc(limits.recordBytes * 0.6);
    assert.deepEqual(
      plan([single(half), single(half), single('x')]).map(({ outline }) => outline.count),
      [1, 2],
    );
  });
});

import assert from 'node:assert/strict';
import type { CursorState } from '../../../../src/base/positions.js';
import { encodeCursor } from '../../../../src/storage/codec/cursor.js';
import { emptyExtent } from '../../../../src/storage/codec/extent.js';
import { seal } from '../../../../src/storage/codec/sealed-value.js';
import { cursorsColumn } from '../../../../src/storage/engine/columns.js';
import { cursorKey } from '../../../../src/storage/engine/keys.js';
import { KnownEnds } from '../../../../src/storage/recovery/known-ends.js';
import {
  findSuspectCursors,
  replaceSuspectCursors,
  type SuspectCursor,
} from '../../../../src/storage/recovery/lost-cursors.js';
import { subscriptionConfig, topicConfig } from '../../../integration/storage/harness.js';
import { blockOf, engineError } from '../log/memory-engine.js';
import { ColumnsEngine } from './columns-engine.js';

const topic = { topicId: 1, config: topicConfig('orders', 2) };
const topics = new Map([[1, topic]]);
const billing = { subscriptionId: 3, topicId: 1, config: subscriptionConfig('orders', 'billing') };

function cursorAt(acknowledgedOffset: number, changes: Partial<CursorState> = {}): CursorState {
  return { acknowledgedOffset, settled: [], failed: [], deadLetterCount: 2, ...changes };
}

function put(memory: ColumnsEngine, subscriptionId: number, partition: number, state: CursorState): void {
  memory.putSealed(cursorsColumn, cursorKey(subscriptionId, partition), encodeCursor(state));
}

function suspectOf(inBlock: CursorState | undefined, partition = 0): SuspectCursor {
  return { subscription: billing, topic, partition, read: { kind: 'damaged', why: 'it broke', inBlock } };
}

describe('the search for lost cursors', () => {
  it('finds none where all can be read or were never written, and raises the ends', async () => {
    const memory = new ColumnsEngine();
    put(memory, 3, 0, cursorAt(5, { settled: [{ first: 7, last: 9 }] }));
    put(memory, 4, 0, cursorAt(5, { failed: [{ offset: 11, attempts: 1 }] }));
    put(memory, 5, 1, cursorAt(8));
    const ends = new KnownEnds();
    const subscriptions = [3, 4, 5, 6].map((subscriptionId) => ({ ...billing, subscriptionId }));
    assert.deepEqual(await findSuspectCursors(memory.engine, topics, subscriptions, ends), []);
    assert.deepEqual([ends.of(1, 0), ends.of(1, 1), ends.of(2, 0)], [12, 8, 0]);
  });

  it('skips the cursors of a subscription whose topic is lost', async () => {
    const memory = new ColumnsEngine();
    memory.put(cursorsColumn, cursorKey(3, 0), Buffer.from('nonsense'));
    const ends = new KnownEnds();
    const lost = { ...billing, topicId: 2 };
    assert.deepEqual(await findSuspectCursors(memory.engine, topics, [lost], ends), []);
  });

  it('names a record that does not match its checksum, and no other', async () => {
    const memory = new ColumnsEngine();
    put(memory, 3, 0, cursorAt(6));
    const key = cursorKey(3, 1);
    memory.put(cursorsColumn, key, seal(cursorKey(4, 1), encodeCursor(cursorAt(7))));
    const ends = new KnownEnds();
    const found = await findSuspectCursors(memory.engine, topics, [billing], ends);
    assert.deepEqual(found, [
      {
        subscription: billing,
        topic,
        partition: 1,
        read: { kind: 'damaged', why: 'its checksum does not match', inBlock: undefined },
      },
    ]);
    assert.deepEqual([ends.of(1, 0), ends.of(1, 1)], [6, 0]);
  });

  it('reads the cursors one by one where a block is damaged, and takes a whole record from the block', async () => {
    const memory = new ColumnsEngine();
    put(memory, 3, 0, cursorAt(6));
    put(memory, 3, 1, cursorAt(9));
    const inBlock = cursorAt(7, { settled: [{ first: 9, last: 9 }] });
    const key = cursorKey(3, 1);
    memory.damagedKeys.push(key);
    memory.block = blockOf([cursorKey(3, 0), Buffer.from('other')], [key, seal(key, encodeCursor(inBlock))]);
    const ends = new KnownEnds();
    const [found, ...others] = await findSuspectCursors(memory.engine, topics, [billing], ends);
    assert.deepEqual(others, []);
    assert.equal(found?.partition, 1);
    assert.deepEqual(found?.read.inBlock, inBlock);
    assert.deepEqual([ends.of(1, 0), ends.of(1, 1)], [6, 10]);
    memory.block = undefined;
    const [without] = await findSuspectCursors(memory.engine, topics, [billing], new KnownEnds());
    assert.equal(without?.read.inBlock, undefined);
  });

  it('does not take a disk that fails for damage', async () => {
    const memory = new ColumnsEngine();
    memory.failures.set(cursorsColumn, engineError('LEVEL_IO_ERROR', 'no such sector'));
    await assert.rejects(
      findSuspectCursors(memory.engine, topics, [billing], new KnownEnds()),
      /no such sector/,
    );
  });
});

describe('what replaces a lost cursor', () => {
  const extents = new Map([[1, new Map([[0, { ...emptyExtent, firstOffset: 5, endOffset: 20 }]])]]);
  const replacementOf = (suspect: SuspectCursor): CursorState => {
    const { replacements } = replaceSuspectCursors([suspect], extents);
    assert.equal(replacements.length, 1);
    assert.deepEqual([replacements[0]!.subscriptionId, replacements[0]!.partition], [3, suspect.partition]);
    return replacements[0]!.state;
  };

  it('begins at the first message of the partition, at 0 if nothing is known', () => {
    const fresh = { settled: [], failed: [], deadLetterCount: 0 };
    assert.deepEqual(replacementOf(suspectOf(undefined)), { acknowledgedOffset: 5, ...fresh });
    assert.deepEqual(replacementOf(suspectOf(undefined, 1)), { acknowledgedOffset: 0, ...fresh });
    assert.deepEqual(replaceSuspectCursors([], extents), { faults: [], replacements: [] });
  });

  it('is the record in the block, as long as the partition reaches so far', () => {
    const whole = cursorAt(8, {
      settled: [{ first: 10, last: 19 }],
      failed: [{ offset: 9, attempts: 2 }],
    });
    assert.deepEqual(replacementOf(suspectOf(whole)), whole);
    const beyond = cursorAt(800);
    assert.deepEqual(replacementOf(suspectOf(beyond, 1)), beyond, 'without an extent there is no bound');
  });

  it('says nothing about messages behind the end of the partition', () => {
    const settled = [
      { first: 10, last: 11 },
      { first: 19, last: 25 },
      { first: 30, last: 31 },
    ];
    const failed = [18, 19, 20, 21].map((offset) => ({ offset, attempts: 1 }));
    assert.deepEqual(replacementOf(suspectOf(cursorAt(8, { settled, failed }))), {
      acknowledgedOffset: 8,
      settled: [
        { first: 10, last: 11 },
        { first: 19, last: 19 },
      ],
      failed: failed.slice(0, 2),
      deadLetterCount: 2,
    });
    const atEnd = cursorAt(8, { settled: [{ first: 20, last: 20 }] });
    assert.deepEqual(replacementOf(suspectOf(atEnd)).settled, []);
    assert.equal(replacementOf(suspectOf(cursorAt(21))).acknowledgedOffset, 20);
  });

  it('is described with the offset from which messages are delivered again', () => {
    const { faults } = replaceSuspectCursors([suspectOf(cursorAt(21)), suspectOf(undefined, 1)], extents);
    const of = (partition: number) =>
      `the cursor of subscription "billing" in partition ${partition} of topic "orders" is damaged (it broke)`;
    assert.deepEqual(faults, [
      `${of(0)}: without it, messages from offset 20 on are delivered again`,
      `${of(1)}: without it, messages from offset 0 on are delivered again`,
    ]);
  });
});

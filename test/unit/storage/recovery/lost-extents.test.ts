import assert from 'node:assert/strict';
import { emptyExtent } from '../../../../src/storage/codec/extent.js';
import { partitionColumn } from '../../../../src/storage/engine/columns.js';
import { logKey } from '../../../../src/storage/engine/keys.js';
import { KnownEnds } from '../../../../src/storage/recovery/known-ends.js';
import {
  findLostExtents,
  type LostExtents,
  withExtents,
} from '../../../../src/storage/recovery/lost-extents.js';
import { topicConfig } from '../../../integration/storage/harness.js';
import { engineError, messageBytes, record, topicId } from '../log/memory-engine.js';
import { ColumnsEngine } from './columns-engine.js';

type Extents = Parameters<typeof withExtents>[0];

const partition = 1;
/** Topics on both sides of the one with messages, two partitions each. */
const topics = new Map(
  [topicId - 1, topicId, topicId + 1].map((id) => [id, { topicId: id, config: topicConfig(`t${id}`, 2) }]),
);

/** Partition 1 of the middle topic holds the offsets 3 to 6, in two records. */
function filled(): ColumnsEngine {
  const memory = new ColumnsEngine();
  for (const [firstOffset, timeMs] of [
    [3, 1_000],
    [5, 2_000],
  ] as const) {
    const options = { partition, timeMs, position: firstOffset * messageBytes };
    memory.put(partitionColumn(partition), ...record(firstOffset, 2, options));
  }
  return memory;
}

const extent = {
  ...emptyExtent,
  firstOffset: 3,
  firstPosition: 3 * messageBytes,
  endOffset: 7,
  endPosition: 7 * messageBytes,
  lastPublishTimeMs: 2_000,
};
const place = `the extent of partition ${partition} of topic ${topicId} is missing`;

interface Known {
  readonly extents?: Extents;
  /** According to cursors. */
  readonly cursorEnd?: number;
  /** According to notes. */
  readonly noteEnd?: number;
  readonly areNotesRead?: boolean;
  readonly isDamaged?: boolean;
}

/** Searches, and returns how often notes were read. */
async function search(
  memory: ColumnsEngine,
  known: Known = {},
): Promise<LostExtents & { noteReads: number }> {
  const { extents = new Map(), cursorEnd = 0, noteEnd = 0, areNotesRead = true, isDamaged = false } = known;
  const ends = new KnownEnds();
  ends.raise(topicId, partition, cursorEnd);
  let noteReads = 0;
  const found = await findLostExtents(memory.engine, topics, extents, {
    ends,
    isDamaged: (id, ofPartition) => isDamaged && id === topicId && ofPartition === partition,
    raiseByNotes: async () => {
      noteReads += 1;
      ends.raise(topicId, partition, noteEnd);
      return areNotesRead;
    },
  });
  assert.equal(memory.openScans, 0);
  return { ...found, noteReads };
}

describe('the search for lost extents', () => {
  it('finds none in partitions that never had a message, and reads no notes for them', async () => {
    const nothing = { faults: [], found: [], areAllFound: true, noteReads: 0 };
    assert.deepEqual(await search(new ColumnsEngine()), nothing);
    const extents = new Map([[topicId, new Map([[partition, extent]])]]);
    assert.deepEqual(
      await search(filled(), { extents }),
      nothing,
      'the only one with messages has its extent',
    );
    const ofOther = new Map([[topicId, new Map([[0, emptyExtent]])]]);
    assert.equal((await search(filled(), { extents: ofOther })).found.length, 1);
  });

  it('rebuilds an extent from the first and the last record', async () => {
    assert.deepEqual(await search(filled()), {
      faults: [`${place}: there are messages in it`],
      found: [{ topicId, partition, extent }],
      areAllFound: true,
      noteReads: 1,
    });
  });

  it('continues behind what cursors or notes know, where the records end before', async () => {
    for (const known of [{ cursorEnd: 7 }, { noteEnd: 7 }]) {
      assert.deepEqual((await search(filled(), known)).found, [{ topicId, partition, extent }]);
    }
    for (const known of [{ cursorEnd: 8 }, { noteEnd: 8 }]) {
      const { faults, found, areAllFound } = await search(filled(), known);
      assert.equal(areAllFound, true);
      assert.deepEqual(found, [{ topicId, partition, extent: { ...extent, endOffset: 8 } }]);
      assert.deepEqual(faults, [
        `${place}: there are messages in it up to offset 6, and it had messages up to offset 7`,
      ]);
    }
  });

  it('can not rebuild an extent if its first or last record is damaged', async () => {
    for (const lastOffset of [4, 6]) {
      const memory = filled();
      memory.damagedKeys.push(logKey(topicId, lastOffset));
      const { faults, found, areAllFound } = await search(memory);
      assert.deepEqual([found, areAllFound], [[], false]);
      assert.equal(faults.length, 1);
      assert.match(faults[0]!, /can't be (rebuilt|read)/);
    }
    const changed = new ColumnsEngine();
    const [key, value] = record(3, 2, { partition });
    value[value.length - 1]! ^= 1;
    changed.put(partitionColumn(partition), key, value);
    const { faults, areAllFound } = await search(changed);
    assert.match(faults[0]!, /can't be rebuilt from its first and last record: /);
    assert.equal(areAllFound, false);
  });

  it('rebuilds a damaged extent without messages from the known end', async () => {
    const empty = new ColumnsEngine();
    const { faults, found, areAllFound } = await search(empty, { isDamaged: true, noteEnd: 9 });
    assert.deepEqual(faults, [`${place}: it had messages up to offset 8`]);
    assert.deepEqual(found, [
      { topicId, partition, extent: { ...emptyExtent, firstOffset: 9, endOffset: 9 } },
    ]);
    assert.equal(areAllFound, true);
  });

  it('is lost as well if only a cursor says that the partition had messages', async () => {
    const { faults, found, areAllFound } = await search(new ColumnsEngine(), { cursorEnd: 9, noteEnd: 12 });
    assert.deepEqual(faults, [`${place}: it had messages up to offset 11`]);
    assert.deepEqual(found, [
      { topicId, partition, extent: { ...emptyExtent, firstOffset: 12, endOffset: 12 } },
    ]);
    assert.equal(areAllFound, true);
  });

  it('raises an extent that ends below a cursor, and no other', async () => {
    const extents = new Map([
      [topicId, new Map([[partition, extent]])],
      // Of a topic that is lost.
      [topicId + 5, new Map([[partition, extent]])],
    ]);
    assert.deepEqual((await search(filled(), { extents, cursorEnd: 7 })).faults, []);
    const { faults, found, areAllFound, noteReads } = await search(filled(), { extents, cursorEnd: 9 });
    assert.deepEqual(faults, [
      `partition ${partition} of topic ${topicId} ends at offset 7, and a cursor says that it had messages up to offset 8`,
    ]);
    assert.deepEqual(found, [{ topicId, partition, extent: { ...extent, endOffset: 9 } }]);
    assert.deepEqual([areAllFound, noteReads], [true, 0]);
  });

  it('accepts no loss if nothing says how many messages a partition had, or if a note is lost', async () => {
    const empty = new ColumnsEngine();
    const unknown = await search(empty, { isDamaged: true });
    assert.deepEqual(unknown.faults, [
      `${place}, and can't be rebuilt: nothing says how many messages it had`,
    ]);
    assert.deepEqual([unknown.found, unknown.areAllFound], [[], false]);
    const unread = await search(empty, { isDamaged: true, cursorEnd: 9, areNotesRead: false });
    assert.deepEqual(unread.faults, [
      `${place}, and can't be rebuilt: no message is left, and a note can't be read`,
    ]);
    assert.deepEqual([unread.found, unread.areAllFound], [[], false]);
  });

  it('names a partition that can not be searched, and searches the others', async () => {
    const memory = filled();
    memory.failures.set(partitionColumn(0), engineError('LEVEL_CORRUPTION', 'bad block'));
    const { faults, found, areAllFound } = await search(memory);
    assert.deepEqual(faults, [
      "partition 0 can't be read where an extent is missing: bad block",
      `${place}: there are messages in it`,
    ]);
    assert.deepEqual([found.length, areAllFound], [1, false]);
  });

  it('does not take a disk that fails for damage', async () => {
    const memory = filled();
    memory.failures.set(partitionColumn(1), engineError('LEVEL_IO_ERROR', 'no such sector'));
    await assert.rejects(search(memory), /no such sector/);
    assert.equal(memory.openScans, 0);
  });
});

describe('extents with those that were rebuilt', () => {
  it('contain both, and leave the others as they were', () => {
    const extents: Extents = new Map([[1, new Map([[0, emptyExtent]])]]);
    const all = withExtents(extents, [
      { topicId: 1, partition: 1, extent },
      { topicId: 2, partition: 0, extent },
    ]);
    assert.deepEqual(
      [...all.get(1)!],
      [
        [0, emptyExtent],
        [1, extent],
      ],
    );
    assert.deepEqual([...all.get(2)!], [[0, extent]]);
    assert.deepEqual([extents.size, extents.get(1)!.size], [1, 1]);
  });
});

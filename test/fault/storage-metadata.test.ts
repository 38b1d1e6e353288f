import assert from 'node:assert/strict';
import { cp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { SluiceError } from '../../src/base/errors.js';
import {
  cursorsColumn,
  metadataColumn,
  partitionColumn,
  producersColumn,
} from '../../src/storage/engine/columns.js';
import { Engine } from '../../src/storage/engine/engine.js';
import * as keys from '../../src/storage/engine/keys.js';
import { readDatabaseStart } from '../../src/storage/recovery/database-check.js';
import { decodeRoundNote, writeRoundNote } from '../../src/storage/recovery/round-note.js';
import { append, commit, makeDirectory, openIn, payloads, readAll } from '../integration/storage/harness.js';
import { repositoryRoot } from '../support/repository.js';
import { change } from './changed-record.js';

const { topic, subscription } = keys.metadataKind;

/** A record of the seeded data directory (test/data/contents.ts), and what is said when it is altered or missing. */
const records: {
  readonly title: string;
  readonly column: number;
  readonly key: Buffer;
  readonly altered: RegExp;
  readonly missing?: RegExp;
}[] = [
  {
    title: 'a topic',
    column: metadataColumn,
    key: keys.metadataKey(topic, 2),
    altered: /the topic of id 2 is damaged: its checksum/,
    missing:
      /the topic of subscription "billing" is missing: it has the id 2.*the topic of id 2 is missing, with offsets 0 to 23 of partition 0/,
  },
  {
    title: 'a topic that holds dead letters',
    column: metadataColumn,
    key: keys.metadataKey(topic, 3),
    altered: /the topic of id 3 is damaged/,
    missing: /the topic of id 3 is missing, with offsets 0 to 1/,
  },
  {
    title: 'a subscription',
    column: metadataColumn,
    key: keys.metadataKey(subscription, 2),
    altered: /the subscription of id 2 is damaged/,
    missing: /the subscription of id 2 is missing: there are cursors or notes of it/,
  },
  {
    title: 'the counters',
    column: metadataColumn,
    key: keys.countersKey,
    altered: /the counters of ids is damaged/,
    missing: /topic "orders" has the id 2, which was never given out/,
  },
  {
    title: 'an extent',
    column: metadataColumn,
    key: keys.extentKey(2, 1),
    altered: /the extent of a partition of topic 2 is damaged/,
    missing: /the extent of partition 1 of topic 2 is missing: there are messages in it/,
  },
  {
    title: 'a cursor',
    column: cursorsColumn,
    key: keys.cursorKey(2, 0),
    altered:
      /the cursor of subscription "billing" in partition 0 of topic "orders" is damaged \(its checksum does not match\): without it, messages from offset 0 on are delivered again/,
  },
  {
    title: 'the identity of the store',
    column: metadataColumn,
    key: keys.storeKey,
    altered: /its checksum does not match/,
    missing: /the database does not know its store/,
  },
];

/** Read when they are asked for. */
const readLater = [
  {
    title: 'a producer',
    column: producersColumn,
    key: keys.producerKey(2, 'till-1'),
    says: /producer "till-1" of topic 2/,
  },
  {
    title: 'a note of a dead letter',
    column: cursorsColumn,
    key: keys.deadLetterKey(2, 0, 6),
    says: /the dead-letter note of subscription 2, partition 0, offset 6/,
  },
  {
    title: 'a note of a redrive',
    column: cursorsColumn,
    key: keys.redriveKey(2, 3, 0),
    says: /how far subscription 2 has redriven topic 3/,
  },
] as const;

async function seeded(): Promise<string> {
  const directory = await makeDirectory();
  await cp(join(repositoryRoot, 'test/data/format-2-clean'), directory, { recursive: true });
  return directory;
}

async function refused(directory: string, says: RegExp): Promise<void> {
  await assert.rejects(openIn(directory), (error) => {
    assert(error instanceof SluiceError, String(error));
    assert.match(error.reason, /^(DATA_LOSS|SYNCED_DATA_MISSING)$/);
    assert.match(error.message, says);
    return true;
  });
}

/** What was accepted is said by that start, and by no later one. */
async function opensOnceAccepted(directory: string): Promise<void> {
  const refusal = await openIn(directory).then(() => assert.fail('it opened'), String);
  if (!/--accept-data-loss|accept the loss/.test(refusal)) return;
  const accepted = await openIn(directory, { acceptDataLoss: true });
  assert(accepted.warnings.length > 0);
  const topics = accepted.recovered.topics.length;
  await accepted.close();
  for (let start = 0; start < 2; start++) {
    const storage = await openIn(directory);
    assert.deepEqual(storage.warnings, []);
    assert.equal(storage.recovered.topics.length, topics);
    await storage.close();
  }
}

describe('storage: damaged metadata', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await seeded();
  });
  afterEach(async () => {
    await rm(directory, { recursive: true });
  });

  for (const { title, column, key, altered, missing } of records) {
    it(`${title}: altered, it refuses the start by name`, async () => {
      await change(directory, column, key, 'alter');
      await refused(directory, altered);
      await refused(directory, altered);
      await opensOnceAccepted(directory);
    });
    if (missing === undefined) continue;
    it(`${title}: missing, it is missed by what belongs to it`, async () => {
      await change(directory, column, key, 'remove');
      await refused(directory, missing);
      await opensOnceAccepted(directory);
    });
  }

  for (const { title, column, key, says } of readLater) {
    it(`${title}: altered, it is never believed`, async () => {
      await change(directory, column, key, 'alter');
      const storage = await openIn(directory);
      const reads = [
        () => storage.readCursors(2, 4),
        () => storage.readProducer(2, 'till-1'),
        () => storage.readDeadLetter(2, 0, 6),
        () => storage.readRedrives(2, 3),
      ];
      const errors = (
        await Promise.all(
          reads.map((read) =>
            read().then(
              () => undefined,
              (error: unknown) => error,
            ),
          ),
        )
      ).filter((error) => error !== undefined);
      assert.equal(errors.length, 1);
      const [error] = errors;
      assert(error instanceof SluiceError && error.reason === 'DATA_LOSS', String(error));
      assert.match(error.message, says);
      await storage.close();
    });
  }

  it('a record of a kind that is not known refuses the start', async () => {
    const engine = await Engine.open(join(directory, 'db'), 4);
    const batch = engine.batch();
    batch.put(metadataColumn, Buffer.of(0x63, 0, 0, 0, 7), Buffer.alloc(8));
    batch.write(true);
    const path = join(directory, 'last-round');
    const note = decodeRoundNote(await readFile(path))!;
    await writeRoundNote(path, { ...note, ...(await readDatabaseStart(join(directory, 'db'))) });
    await engine.close();
    await refused(directory, /a record of the unknown kind 99 7 is damaged/);
  });

  it('puts a subscription back to the first message of the partition whose cursor is damaged, and no other', async () => {
    const whole = await openIn(directory);
    const cursors = await whole.readCursors(2, 4);
    assert(cursors.get(0)!.acknowledgedOffset > 0);
    await whole.close();
    await change(directory, cursorsColumn, keys.cursorKey(2, 0), 'alter');
    const fresh = { acknowledgedOffset: 0, settled: [], failed: [], deadLetterCount: 0 };
    for (const acceptDataLoss of [true, false]) {
      const storage = await openIn(directory, { acceptDataLoss });
      assert.deepEqual(await storage.readCursors(2, 4), new Map([...cursors, [0, fresh]]));
      assert.equal(storage.warnings.length, acceptDataLoss ? 1 : 0);
      await storage.close();
    }
  });

  it('makes a lost extent from the messages of the partition when the loss is accepted', async () => {
    const whole = await openIn(directory);
    const extent = whole.extent(2, 1);
    await whole.close();
    await change(directory, metadataColumn, keys.extentKey(2, 1), 'remove');
    await (await openIn(directory, { acceptDataLoss: true })).close();
    const storage = await openIn(directory);
    assert.deepEqual(storage.extent(2, 1), extent);
    assert.deepEqual(await commit(storage, { appends: [append(2, 1, ['next'])] }), [extent.endOffset]);
    const served = await readAll(storage.openReader(2, 1), extent.firstOffset);
    assert.equal(payloads(served).length, extent.endOffset - extent.firstOffset + 1);
    await storage.close();
  });

  it('names each lost extent beside one that cannot be rebuilt, and accepts no loss then', async () => {
    const engine = await Engine.open(join(directory, 'db'), 4);
    const range = keys.logRange(2, 0);
    const scan = engine.scan(partitionColumn(0), range);
    const [[key] = []] = await scan.next(1);
    await scan.close();
    await engine.close();
    assert(key !== undefined);
    await change(directory, partitionColumn(0), key, 'alter');
    for (const topicId of [2, 3])
      await change(directory, metadataColumn, keys.extentKey(topicId, 0), 'remove');
    const says =
      /partition 0 of topic 2 is missing, and can't be rebuilt.*partition 0 of topic 3 is missing/s;
    await refused(directory, says);
    await assert.rejects(openIn(directory, { acceptDataLoss: true }), says);
  });

  it('gives no id twice whose record is damaged, and leaves many out when the counters are lost', async () => {
    const whole = await openIn(directory);
    const nextTopicId = whole.nextTopicId();
    const newest = whole.recovered.topics.find(({ topicId }) => topicId === nextTopicId - 1)!;
    await whole.close();
    await change(directory, metadataColumn, keys.countersKey, 'alter');
    await change(directory, metadataColumn, keys.metadataKey(topic, newest.topicId), 'alter');
    for (let partition = 0; partition < newest.config.partitionCount; partition++) {
      const key = keys.extentKey(newest.topicId, partition);
      if (whole.extent(newest.topicId, partition).endOffset > 0) {
        await change(directory, metadataColumn, key, 'alter');
      }
    }
    const storage = await openIn(directory, { acceptDataLoss: true });
    assert.equal(storage.nextTopicId(), nextTopicId + 65_536);
    await storage.close();
  });

  it('starts without what is lost when that is accepted, and gives no id twice', async () => {
    await change(directory, metadataColumn, keys.metadataKey(topic, 2), 'remove');
    const storage = await openIn(directory, { acceptDataLoss: true });
    assert(storage.warnings.length >= 2);
    assert.deepEqual(
      storage.recovered.topics.map(({ topicId }) => topicId),
      [3, 4],
    );
    assert.deepEqual(storage.recovered.subscriptions, []);
    assert.equal(storage.nextTopicId(), 5);
    assert.equal(storage.nextSubscriptionId(), 4);
    await storage.close();
  });
});

import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { emptyExtent } from '../../../../src/storage/codec/extent.js';
import { cursorKey, logKey, producerKey } from '../../../../src/storage/engine/keys.js';
import { PartitionLog } from '../../../../src/storage/log/partition-log.js';
import {
  type DamageSite,
  describeDamage,
  readNotedDamage,
  reportTableDamage,
} from '../../../../src/storage/recovery/table-damage.js';
import { edit } from '../engine/log-fragments.js';
import { engineError, logUpTo, MemoryEngine, partition, record, topicId } from '../log/memory-engine.js';

const advice = 'Starting the broker again does not repair it: restore the data directory from a backup';

/** A column family of the database. Partition 2 is the one of the memory engine. */
const columns = { catalog: 0, messages: 1, cursors: 2, producers: 3, unknown: 4 };

/** RocksDB appends a sequence number and a kind to each key. */
const internal = (key: Buffer): Buffer => Buffer.concat([key, Buffer.alloc(8)]);

describe('damage of a table', () => {
  let directory: string;
  let site: DamageSite;
  let memory: MemoryEngine;
  let logs: PartitionLog[];

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'sluice-damage-'));
    await mkdir(join(directory, 'db'));
    memory = new MemoryEngine();
    logs = [logUpTo(20)];
    site = {
      engine: memory.engine,
      databasePath: join(directory, 'db'),
      notePath: join(directory, 'damage.json'),
      logsOf: (of) => {
        assert.equal(of, partition);
        return logs;
      },
    };
    for (let offset = 0; offset < 20; offset += 2) memory.put(record(offset, 2));
  });
  afterEach(() => rm(directory, { recursive: true }));

  /** Writes a database with table 11, and the bytes of the table. */
  async function writeTable(column: number, smallest: Buffer, largest: Buffer): Promise<void> {
    const manifest = Buffer.concat([
      edit(2, 7, 3, 20, 4, 99),
      edit(200, columns.messages, 201, 'partition-002', 2, 7),
      edit(200, columns.cursors, 201, 'cursors', 2, 7),
      edit(200, columns.producers, 201, 'producers', 2, 7),
      edit(200, columns.unknown, 201, 'later', 2, 7),
      edit(200, column, 103, 0, 11, 300, internal(smallest), internal(largest), 5, 6, 1),
    ]);
    await writeFile(join(site.databasePath, 'CURRENT'), 'MANIFEST-000005\n');
    await writeFile(join(site.databasePath, 'MANIFEST-000005'), manifest);
    await writeFile(join(site.databasePath, '000011.sst'), 'a damaged table');
  }

  const messageTable = (smallest: number, largest: number, smallestTopic = topicId, largestTopic = topicId) =>
    writeTable(columns.messages, logKey(smallestTopic, smallest), logKey(largestTopic, largest));

  /** What the report says that the table holds. */
  async function held(number = 11): Promise<string> {
    const { reason, message } = await reportTableDamage(site, `bad block in /data/db/0000${number}.sst`);
    assert.equal(reason, 'DATA_LOSS');
    const [, what] =
      /^the table 0000\d+\.sst is damaged, (.*): bad block in 0000\d+\.sst\. /.exec(message) ?? [];
    assert(what !== undefined, message);
    assert(
      message.endsWith(
        `${advice}. With --accept-data-loss it serves until a compaction meets the table again`,
      ),
    );
    return what;
  }

  it('is reported and noted, and the note is found while the table is the same', async () => {
    await messageTable(1, 19);
    const { message } = await reportTableDamage(site, 'bad block in /data/db/000011.sst');
    assert.deepEqual(JSON.parse(await readFile(site.notePath, 'utf8')), {
      table: '000011.sst',
      tableChecksum: crc32('a damaged table'),
      message,
    });
    assert.equal(await readNotedDamage(site.databasePath, site.notePath), message);
    assert.equal(await readNotedDamage(site.databasePath, site.notePath), message, 'each start');
    await writeFile(join(site.databasePath, '000011.sst'), 'a restored table');
    assert.equal(await readNotedDamage(site.databasePath, site.notePath), undefined);
    await assert.rejects(readFile(site.notePath), { code: 'ENOENT' });
    assert.equal(await readNotedDamage(site.databasePath, site.notePath), undefined, 'without a note');
  });

  it('is not noted if the table does not exist any more', async () => {
    await messageTable(1, 19);
    await rm(join(site.databasePath, '000011.sst'));
    await held();
    await assert.rejects(readFile(site.notePath), { code: 'ENOENT' });
  });

  it('is not noted if the error names no table', async () => {
    const { reason, message } = await reportTableDamage(site, 'bad block somewhere');
    assert.equal(reason, 'DATA_LOSS');
    assert.equal(message, `the database is damaged: bad block somewhere. ${advice}`);
    await assert.rejects(readFile(site.notePath), { code: 'ENOENT' });
  });

  it('is found again if the note is damaged', async () => {
    await messageTable(1, 19);
    const tableChecksum = crc32('a damaged table');
    for (const note of [
      'nonsense',
      '[]',
      JSON.stringify({ table: '../11.sst', tableChecksum, message: 'm' }),
      JSON.stringify({ table: '000011.sst', tableChecksum: `${tableChecksum}`, message: 'm' }),
      JSON.stringify({ table: '000011.sst', tableChecksum, message: 3 }),
      JSON.stringify({ tableChecksum, message: 'm' }),
    ]) {
      await writeFile(site.notePath, note);
      assert.equal(await readNotedDamage(site.databasePath, site.notePath), undefined, note);
      await assert.rejects(readFile(site.notePath), { code: 'ENOENT' });
    }
  });

  it('names the offsets that can not be read, among those of the table', async () => {
    const range = (first: number, last: number) =>
      `topic ${topicId}, partition ${partition}, offsets ${first} to ${last}`;
    for (const lastOffset of [3, 9, 11, 17]) memory.damaged.add(lastOffset);
    await messageTable(1, 19);
    assert.equal(await held(), `which holds ${range(2, 3)}; ${range(8, 11)}; ${range(16, 17)}`);
    await messageTable(5, 13);
    assert.equal(await held(), `which holds ${range(8, 11)}`);
    await messageTable(7, 17);
    assert.equal(await held(), `which holds ${range(8, 11)}; ${range(16, 17)}`);
    await messageTable(0, 0, topicId - 1, topicId + 1);
    assert.equal(await held(), `which holds ${range(2, 3)}; ${range(8, 11)}; ${range(16, 17)}`);
    logs[0]!.firstOffset = 10;
    assert.equal(await held(), `which holds ${range(10, 11)}; ${range(16, 17)}`, 'of those that are kept');
    await messageTable(13, 15);
    assert.equal(await held(), `which holds messages of partition ${partition}, none of which is lost`);
  });

  it('names all offsets of the first record of the table', async () => {
    for (const [lastOffset, what] of [
      [5, 'offsets 4 to 5'],
      [1, 'offsets 0 to 1'],
    ] as const) {
      memory.damaged.clear();
      memory.damaged.add(lastOffset);
      await messageTable(lastOffset, 13);
      assert.equal(await held(), `which holds topic ${topicId}, partition ${partition}, ${what}`);
    }
    // The record before it belongs to another table, which is damaged too.
    memory.damaged.add(3).add(5);
    await messageTable(5, 13);
    assert.equal(await held(), `which holds topic ${topicId}, partition ${partition}, offsets 5 to 5`);
  });

  it('affects no topic outside of the keys of the table', async () => {
    memory.damaged.add(3);
    const none = `which holds messages of partition ${partition}, none of which is lost`;
    for (const [smallestTopic, largestTopic] of [
      [topicId + 1, topicId + 2],
      [topicId - 2, topicId - 1],
    ] as const) {
      await messageTable(0, 99, smallestTopic, largestTopic);
      assert.equal(await held(), none);
      assert.equal(memory.scanCount, 0);
    }
    logs = [new PartitionLog(topicId + 1, partition, { ...emptyExtent, endOffset: 0 }), logUpTo(20)];
    await messageTable(0, 99, topicId, topicId + 1);
    assert.equal(await held(), `which holds topic ${topicId}, partition ${partition}, offsets 2 to 3`);
  });

  it('says so if the lost offsets can not be found out', async () => {
    await messageTable(1, 19);
    memory.failures.push(engineError('LEVEL_LOCKED', 'it is closed'));
    assert.equal(
      await held(),
      `which holds messages of partition ${partition} (which ones could not be found out: it is closed)`,
    );
  });

  it('names the records of a table without messages, and their owners', async () => {
    await writeTable(columns.cursors, cursorKey(4, 1), cursorKey(90, 0));
    assert.equal(await held(), 'which holds cursors and dead-letter notes of the ids 4 to 90');
    await writeTable(columns.producers, producerKey(5, 'a'), producerKey(5, 'b'));
    assert.equal(await held(), 'which holds producers of the ids 5 to 5');
    await writeTable(columns.catalog, Buffer.of(1), Buffer.of(7, 0, 0, 0));
    assert.equal(await held(), 'which holds the catalog');
    await writeTable(columns.unknown, Buffer.of(1), Buffer.of(1, 2, 3, 4, 5));
    assert.equal(await held(), 'which holds later');
  });

  it('of a table that the database no longer needs affects nothing', async () => {
    await messageTable(1, 19);
    assert.equal(await held(12), 'which the database no longer needs');
    await rm(join(site.databasePath, 'CURRENT'));
    assert.equal(await held(), 'which the database no longer needs');
  });

  it('is described even if it can not be noted', async () => {
    await messageTable(1, 19);
    const error = 'bad block in /data/db/000011.sst';
    assert.equal((await describeDamage(site, error)).message, (await reportTableDamage(site, error)).message);
    const lost = { ...site, notePath: join(directory, 'missing', 'damage.json') };
    const { reason, message, cause } = await describeDamage(lost, error);
    assert.equal(reason, 'DATA_LOSS');
    assert.match(
      message,
      /^the database is damaged: bad block in 000011\.sst; what is lost could not be found out: .*ENOENT/,
    );
    assert(cause instanceof Error);
  });
});

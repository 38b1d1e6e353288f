import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { SluiceError } from '../../../../src/base/errors.js';
import { silentLogger } from '../../../../src/base/logger.js';
import { cursorsColumn, metadataColumn, producersColumn } from '../../../../src/storage/engine/columns.js';
import { Engine } from '../../../../src/storage/engine/engine.js';
import { everything, storeKey } from '../../../../src/storage/engine/keys.js';
import { type DataDirectory, openDataDirectory } from '../../../../src/storage/recovery/data-directory.js';
import { currentFormat, writeMarker } from '../../../../src/storage/recovery/marker.js';
import { decodeRoundNote, readBootId, writeRoundNote } from '../../../../src/storage/recovery/round-note.js';
import { repositoryRoot } from '../../../support/repository.js';
import { engineError } from '../log/memory-engine.js';

const key = Buffer.of(0xf0);

describe('opening a data directory', () => {
  let parent: string;
  let directory: string;
  let openEngines: Engine[];

  beforeEach(async () => {
    parent = await mkdtemp(join(tmpdir(), 'sluice-directory-'));
    directory = join(parent, 'data');
    openEngines = [];
  });
  afterEach(async () => {
    for (const engine of openEngines) await engine.close();
    await rm(parent, { recursive: true });
  });

  async function open(options: { maxPartitionCount?: number; acceptDataLoss?: boolean } = {}) {
    const opened = await openDataDirectory(
      directory,
      { maxPartitionCount: 2, acceptDataLoss: false, ...options },
      silentLogger,
    );
    openEngines.push(opened.engine);
    return opened;
  }

  /** Notes how far the database must reach, as the store does, and closes it. */
  async function close({ engine, storeId, start, roundNotePath }: DataDirectory): Promise<void> {
    const { sequence } = engine;
    const ends = { writtenSequence: sequence, syncedSequence: sequence };
    await writeRoundNote(roundNotePath, { storeId, round: 1, bootId: await readBootId(), ...ends, ...start });
    openEngines.splice(openEngines.indexOf(engine), 1);
    await engine.close();
  }

  /** Opens, changes the database, and closes. */
  async function change(action: (engine: Engine) => void = () => {}): Promise<string> {
    const opened = await open();
    action(opened.engine);
    await close(opened);
    return opened.storeId;
  }

  function write(engine: Engine): void {
    const batch = engine.batch();
    batch.put(metadataColumn, key, Buffer.alloc(100, 1));
    batch.write(true);
  }

  function forget(engine: Engine): void {
    const batch = engine.batch();
    batch.delete(metadataColumn, storeKey);
    batch.write(true);
  }

  async function isRefused(
    reason: string,
    text: RegExp,
    options: { maxPartitionCount?: number; acceptDataLoss?: boolean } = {},
  ): Promise<void> {
    await assert.rejects(open(options), (error) => {
      assert(error instanceof SluiceError, String(error));
      assert.equal(error.reason, reason);
      assert.match(error.message, text);
      return true;
    });
  }

  it('makes a store, which keeps its id and its contents', async () => {
    const created = await open();
    assert.match(created.storeId, /^[0-9a-f]{32}$/);
    assert.deepEqual([created.hasIdentity, created.missing], [true, []]);
    write(created.engine);
    await close(created);
    const again = await open();
    assert.deepEqual([again.storeId, again.hasIdentity, again.missing], [created.storeId, true, []]);
    assert.deepEqual(again.engine.get(metadataColumn, key), Buffer.alloc(100, 1));
    assert.equal(again.databasePath, join(directory, 'db'));
    assert.equal(again.roundNotePath, join(directory, 'last-round'));
    assert.equal(again.tableDamagePath, join(directory, 'damage.json'));
    assert.equal(again.syncedOffsetsPath, join(directory, 'synced-offsets'));
  });

  it('refuses an older copy of the manifest, unless the loss is accepted, and names what is lost', async () => {
    await change(write);
    const path = join(directory, 'last-round');
    const note = decodeRoundNote(await readFile(path))!;
    await writeRoundNote(path, { ...note, columnsLogNumber: note.columnsLogNumber + 90 });
    const lost =
      /the database in .*data is damaged: MANIFEST-\d+ is cut off, or an older copy: .+\. Restore the directory from a backup, or start without what is lost: --accept-data-loss$/;
    await isRefused('DATA_LOSS', lost);
    await isRefused('DATA_LOSS', lost);
    const { missing, hasIdentity } = await open({ acceptDataLoss: true });
    assert.deepEqual([missing.length, hasIdentity], [1, true]);
    assert.match(missing[0]!, /is cut off, or an older copy/);
  });

  it('refuses a database that can not be opened, whether the loss is accepted or not', async () => {
    await change(write);
    await rm(join(directory, 'db', 'CURRENT'));
    for (const acceptDataLoss of [false, true]) {
      await isRefused('DATA_LOSS', /is damaged: .*CURRENT is missing; restore the directory from a backup/, {
        acceptDataLoss,
      });
    }
  });

  it('refuses a database with a table that is noted as damaged, unless the loss is accepted', async () => {
    await change(write);
    const table = '000990.sst';
    await writeFile(join(directory, 'db', table), 'damaged');
    const noted = { table, tableChecksum: crc32('damaged'), message: 'the table 000990.sst is damaged' };
    await writeFile(join(directory, 'damage.json'), JSON.stringify(noted));
    await isRefused('DATA_LOSS', /^the table 000990\.sst is damaged$/);
    const { missing } = await open({ acceptDataLoss: true });
    assert.deepEqual(missing, []);
  });

  it('says that the database has lost the id of its store, and opens it', async () => {
    const storeId = await change(forget);
    const opened = await open();
    assert.deepEqual([opened.storeId, opened.hasIdentity], [storeId, false]);
    assert.deepEqual(opened.missing, ['the database does not know its store']);
  });

  it('refuses the database of another store, and one whose id is damaged', async () => {
    const storeId = await change();
    const other = 'ab'.repeat(16);
    await writeMarker(directory, { format: currentFormat, maxPartitionCount: 2, storeId: other });
    for (const acceptDataLoss of [false, true]) {
      await isRefused(
        'DATA_LOSS',
        new RegExp(`sluice\\.json is of store ${other} .* of store ${storeId} .*one of them was replaced`),
        { acceptDataLoss },
      );
    }
    await writeMarker(directory, { format: currentFormat, maxPartitionCount: 2, storeId });
    await change((engine) => {
      const batch = engine.batch();
      batch.put(metadataColumn, storeKey, Buffer.alloc(24, 1));
      batch.write(true);
    });
    await isRefused('DATA_LOSS', /is damaged: .*checksum.*; restore the directory from a backup/);
  });

  it('takes no failure of the disk for damage', async () => {
    await change();
    const { get } = Engine.prototype;
    try {
      Engine.prototype.get = () => {
        throw engineError('LEVEL_IO_ERROR', 'no such sector');
      };
      await assert.rejects(open(), { code: 'LEVEL_IO_ERROR' });
      Engine.prototype.get = () => {
        throw engineError('LEVEL_CORRUPTION', 'bad block');
      };
      await isRefused('DATA_LOSS', /is damaged: bad block; restore the directory from a backup$/);
    } finally {
      Engine.prototype.get = get;
    }
    await open();
  });

  it('migrates a store of the first format, and logs how many records it has changed', async () => {
    await cp(join(repositoryRoot, 'test/data/format-1-clean'), directory, { recursive: true });
    const lines: [string, unknown][] = [];
    const logger = {
      ...silentLogger,
      info: ({ records }: { records?: number }, line: string) => lines.push([line, records]),
    };
    const options = { maxPartitionCount: 4, acceptDataLoss: false };
    const { engine } = await openDataDirectory(directory, options, logger as typeof silentLogger);
    openEngines.push(engine);
    let recordCount = 0;
    for (const column of [metadataColumn, cursorsColumn, producersColumn]) {
      const scan = engine.scan(column, everything);
      recordCount += (await scan.next(1_000)).length;
      await scan.close();
    }
    assert(recordCount > 10 && recordCount < 1_000, `${recordCount}`);
    assert.deepEqual(lines, [
      ['migrating the data directory to a newer format', undefined],
      // Without the id of the store, which is new.
      ['data directory migrated', recordCount - 1],
    ]);
  });

  it('never lowers the most partitions, and notes when they are raised', async () => {
    await change();
    await isRefused('INVALID_SETTING', /was made for 2, the setting says 1$/, { maxPartitionCount: 1 });
    const opened = await open({ maxPartitionCount: 3 });
    assert.equal(opened.engine.columnNames.length, 6);
    await close(opened);
    await isRefused('INVALID_SETTING', /was made for 3, the setting says 2$/);
  });

  it('refuses a directory that another opening uses, and one that is not its own', async () => {
    await open();
    await isRefused('DATA_DIRECTORY_IN_USE', /data is in use by another process$/);
    directory = join(parent, 'other');
    await mkdir(directory);
    await writeFile(join(directory, 'letter.txt'), 'dear');
    await isRefused('DATA_DIRECTORY_FOREIGN', /holds letter\.txt but no sluice\.json/);
    assert.deepEqual(await readdir(directory), ['letter.txt']);
    directory = join(parent, 'file');
    await writeFile(directory, '');
    await isRefused('DATA_DIRECTORY_UNUSABLE', /file can't be used: /);
  });

  it('finishes a store whose creation was interrupted, and no other without a marker', async () => {
    const { engine } = await open();
    openEngines.length = 0;
    await engine.close();
    await rm(join(directory, 'sluice.json'));
    await change(write);
    assert((await readFile(join(directory, 'sluice.json'))).length > 0);
    await rm(join(directory, 'sluice.json'));
    await isRefused('DATA_DIRECTORY_FOREIGN', /holds a database but no sluice\.json/);
  });

  it('removes the reserve, and keeps no lock after a refusal', async () => {
    await change();
    await writeFile(join(directory, 'reserve'), 'space');
    await writeMarker(directory, { format: currentFormat, maxPartitionCount: 2, storeId: 'ab'.repeat(16) });
    await isRefused('DATA_LOSS', /one of them was replaced/);
    assert(!(await readdir(directory)).includes('reserve'));
    await isRefused('DATA_LOSS', /one of them was replaced/);
  });
});

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { columnNames } from '../../../../src/storage/engine/columns.js';
import {
  checkDatabase,
  findLiveTable,
  readDatabaseStart,
  tableFileName,
} from '../../../../src/storage/recovery/database-check.js';
import { writeRoundNote } from '../../../../src/storage/recovery/round-note.js';
import { batch, blockBytes, edit, flipped, fragment } from '../engine/log-fragments.js';

const maxPartitionCount = 2;
const keys = ['a12345678', 'z12345678'] as const;

/** A database with a table of 50 bytes, and two logs with the changes 1 to 5 and 6 to 9. */
const manifest = [
  edit(2, 7, 3, 20, 4, 99),
  ...columnNames(maxPartitionCount).flatMap((name, id) => (id === 0 ? [] : [edit(200, id, 201, name, 2, 7)])),
  edit(200, 1, 103, 0, 11, 50, ...keys, 5, 6, 1),
];

describe('the check of a database', () => {
  let directory: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'sluice-check-'));
    await write('CURRENT', 'MANIFEST-000005\n');
    await write('MANIFEST-000005', ...manifest);
    await write('000011.sst', Buffer.alloc(50));
    await write('000007.log', batch(1, 3), batch(4, 2));
    await write('000009.log', batch(6, 4));
  });
  afterEach(() => rm(directory, { recursive: true }));

  function write(name: string, ...content: (Buffer | string)[]): Promise<void> {
    return writeFile(join(directory, name), Buffer.concat(content.map((part) => Buffer.from(part))));
  }
  const remove = (name: string) => rm(join(directory, name));
  const check = (roundNotePath?: string) =>
    checkDatabase({ databasePath: directory, roundNotePath, maxPartitionCount });

  async function faults(expected: RegExp, canBeOpened: boolean): Promise<void> {
    const found = await check();
    assert.equal(found.faults.length, 1, found.faults.join('; '));
    assert.match(found.faults[0]!, expected);
    assert.equal(found.canBeOpened, canBeOpened);
  }

  it('finds nothing in a whole one, and its last change', async () => {
    assert.deepEqual(await check(), { faults: [], canBeOpened: true, lastSequence: 9 });
    await write('000002.log', batch(800, 1));
    await write('other.txt', 'x');
    assert.deepEqual(
      await check(),
      { faults: [], canBeOpened: true, lastSequence: 9 },
      'older logs do not count',
    );
    await write('000010.log', '');
    await write('000012.log', batch(10, 0), batch(10, 1), batch(11, 0));
    assert.equal((await check()).lastSequence, 10);
  });

  it('needs CURRENT and the manifest that it names', async () => {
    await write('CURRENT', 'MANIFEST-x');
    await faults(/CURRENT is damaged/, false);
    await write('CURRENT', 'MANIFEST-000006');
    await faults(/MANIFEST-000006, which CURRENT names, is missing/, false);
    await remove('CURRENT');
    await faults(/CURRENT is missing/, false);
  });

  it('leaves a manifest that it can not read to RocksDB', async () => {
    await write('MANIFEST-000005', edit(77, 1));
    assert.deepEqual(await check(), { faults: [], canBeOpened: true, lastSequence: 0 });
  });

  it('needs all column families', async () => {
    await write('MANIFEST-000005', ...manifest.slice(0, 2), manifest.at(-1)!);
    const { faults: found, canBeOpened } = await check();
    assert.equal(found.length, columnNames(maxPartitionCount).length - 2);
    assert.match(
      found.join(),
      /MANIFEST-000005 does not name the column family partition-\d+: it was cut off/,
    );
    assert.equal(canBeOpened, true);
  });

  it('needs all tables, as long as they were', async () => {
    const column = columnNames(maxPartitionCount)[1];
    await write('000011.sst', Buffer.alloc(49));
    await faults(new RegExp(`000011.sst, a table of ${column}, has 49 bytes instead of 50`), false);
    await remove('000011.sst');
    await faults(new RegExp(`000011.sst, a table of ${column}, is missing`), false);
  });

  it('does not open what RocksDB would read without end', async () => {
    await write('000009.log', batch(6, 4), fragment(5, 'strange'));
    await faults(/000009.log is damaged: at byte 27 there is a record of an unknown kind/, false);
    await write('000009.log', batch(6, 4));
    await write('MANIFEST-000005', ...manifest, fragment(9, 'strange'));
    await faults(/MANIFEST-000005 is damaged: at byte \d+ there is/, false);
  });

  it('opens no database whose manifest is damaged before its end', async () => {
    await write('MANIFEST-000005', ...manifest, flipped(edit(2, 7)), edit(2, 7));
    const { faults: found, canBeOpened } = await check();
    assert.deepEqual([found, canBeOpened], [[], false]);
  });

  it('finds a gap between two logs, and where a log ends too early', async () => {
    await write('000009.log', batch(7, 3));
    await faults(
      /000007.log is cut off, or a file behind it is missing: changes 6 to 6 between it and 000009.log are not there/,
      true,
    );
    await write('000009.log', batch(6, 4));
    await write('000007.log', batch(1, 3));
    await faults(/changes 4 to 5 between it/, true);
    await write('000007.log', flipped(batch(1, 3)));
    assert.deepEqual((await check()).faults, [], 'a log without a whole record says nothing');
  });

  it('finds the end of a long log, whatever is in its middle', async () => {
    const long = Buffer.alloc(70 * blockBytes);
    const record = batch(6, 4);
    record.copy(long, 0);
    batch(10, 30).copy(long, 69 * blockBytes);
    await write('000009.log', long);
    assert.deepEqual(await check(), { faults: [], canBeOpened: true, lastSequence: 39 });
  });

  it('finds both ends of a long log whose ends have no whole record', async () => {
    const long = Buffer.alloc(100 * blockBytes);
    batch(7, 3).copy(long, 40 * blockBytes);
    batch(10, 30).copy(long, 41 * blockBytes);
    await write('000009.log', long);
    const { faults: found, lastSequence } = await check();
    assert.equal(lastSequence, 39);
    assert.match(found.join(), /changes 6 to 6 between it and 000009.log are not there/);
  });

  it('compares with the note: the first log of the last opening, and its column families', async () => {
    const path = join(directory, 'note');
    const note = {
      storeId: '0'.repeat(32),
      round: 1,
      writtenSequence: 9,
      syncedSequence: 9,
      bootId: '',
      firstLogNumber: 7,
      columnsLogNumber: 7,
    };
    const found = async (changes: Partial<typeof note>) => {
      await writeRoundNote(path, { ...note, ...changes });
      return (await check(path)).faults.join();
    };
    assert.equal(await found({}), '');
    assert.match(await found({ columnsLogNumber: 8 }), /MANIFEST-000005 is cut off, or an older copy/);
    assert.equal(await found({ columnsLogNumber: 6, firstLogNumber: 2 }), '');
    assert.match(
      await found({ firstLogNumber: 8 }),
      /000008.log, the oldest file of the write-ahead log, is missing/,
    );
    await remove('000007.log');
    assert.match(
      await found({ firstLogNumber: 2 }),
      /000007.log, the oldest file of the write-ahead log, is missing/,
    );
    assert.deepEqual((await check()).faults, [], 'without a note nothing says so');
    await write('000009.log', '');
    assert.equal(await found({}), '', 'nothing was written since the opening');
    await write('note', 'nonsense');
    assert.deepEqual((await check(path)).faults, []);
  });

  it('tells where an opened database begins, and what a table is', async () => {
    assert.deepEqual(await readDatabaseStart(directory), { firstLogNumber: 9, columnsLogNumber: 7 });
    const found = await findLiveTable(directory, 11);
    assert.equal(found?.columnName, columnNames(maxPartitionCount)[1]);
    assert.deepEqual([found?.table.byteLength, String(found?.table.smallestKey)], [50, 'a']);
    assert.equal(await findLiveTable(directory, 12), undefined);
    assert.equal(tableFileName(7), '000007.sst');
    await remove('MANIFEST-000005');
    assert.equal(await findLiveTable(directory, 11), undefined);
    assert.deepEqual(await readDatabaseStart(directory), { firstLogNumber: 9, columnsLogNumber: 0 });
    for (const name of ['000007.log', '000009.log']) await remove(name);
    assert.equal((await readDatabaseStart(directory)).firstLogNumber, 0);
  });
});

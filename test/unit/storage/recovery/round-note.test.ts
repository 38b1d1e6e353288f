import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  checkRoundNote,
  decodeRoundNote,
  encodeRoundNote,
  noteRound,
  raiseRoundNote,
  readBootId,
  writeRoundNote,
} from '../../../../src/storage/recovery/round-note.js';

const note = {
  storeId: '00112233445566778899aabbccddeeff',
  round: 7,
  writtenSequence: 300,
  syncedSequence: 200,
  bootId: 'ffeeddccbbaa99887766554433221100',
  firstLogNumber: 11,
  columnsLogNumber: 9,
};

describe('the note of the last round', () => {
  let path: string;
  let directory: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'sluice-note-'));
    path = join(directory, 'note');
  });
  afterEach(() => rm(directory, { recursive: true }));

  it('is read back, and not if a bit is changed or a byte is missing', () => {
    const bytes = encodeRoundNote(note);
    assert.deepEqual(decodeRoundNote(bytes), note);
    assert.deepEqual(decodeRoundNote(encodeRoundNote({ ...note, bootId: '' })), { ...note, bootId: '' });
    for (let at = 0; at < bytes.length; at += 1) {
      bytes[at]! ^= 4;
      assert.equal(decodeRoundNote(bytes), undefined, `byte ${at}`);
      bytes[at]! ^= 4;
    }
    assert.equal(decodeRoundNote(bytes.subarray(1)), undefined);
    assert.equal(decodeRoundNote(Buffer.concat([bytes, Buffer.of(0)])), undefined);
  });

  it('is changed in place for a round', () => {
    const bytes = encodeRoundNote(note);
    noteRound(bytes, 8, 310, false);
    assert.deepEqual(decodeRoundNote(bytes), { ...note, round: 8, writtenSequence: 310 });
    noteRound(bytes, 9, 320, true);
    assert.deepEqual(decodeRoundNote(bytes), {
      ...note,
      round: 9,
      writtenSequence: 320,
      syncedSequence: 320,
    });
  });

  it('is raised to what the log contains, after a sync, in the same file', async () => {
    let syncCount = 0;
    const sync = async () => {
      syncCount += 1;
    };
    await raiseRoundNote(path, 500, sync);
    await writeRoundNote(path, note);
    const { ino } = await stat(path);
    await raiseRoundNote(path, 200, sync);
    assert.equal(syncCount, 0);
    await raiseRoundNote(path, 201, sync);
    assert.equal(syncCount, 1);
    assert.deepEqual(decodeRoundNote(await readFile(path)), { ...note, syncedSequence: 201 });
    await raiseRoundNote(path, 301, sync);
    assert.deepEqual(decodeRoundNote(await readFile(path)), {
      ...note,
      syncedSequence: 301,
      writtenSequence: 301,
    });
    assert.equal((await stat(path)).ino, ino);
    await writeFile(path, 'nonsense');
    await raiseRoundNote(path, 900, sync);
    assert.equal(await readFile(path, 'utf8'), 'nonsense');
  });

  it('shows what the database lacks: all rounds of this boot, only synced ones of another', async () => {
    const { storeId, bootId } = note;
    const check = (sequence: number, boot = bootId) =>
      checkRoundNote(path, { storeId, sequence, bootId: boot });
    await writeRoundNote(path, note);
    assert.deepEqual(await check(300), { round: 7, missing: [] });
    assert.deepEqual(await check(299), {
      round: 7,
      missing: ['the database ends 1 changes before round 7, which was written: at change 299 of 300'],
    });
    assert.deepEqual(await check(200, 'other'), { round: 7, missing: [] });
    assert.equal((await check(199, 'other')).missing.length, 1);
    await writeRoundNote(path, { ...note, bootId: '' });
    assert.deepEqual((await check(200, '')).missing, [], 'without the id of a boot');
  });

  it('that can not be used leaves everything unchecked', async () => {
    const { storeId, bootId } = note;
    const check = async (id = storeId) => {
      const { round, missing } = await checkRoundNote(path, { storeId: id, sequence: 900, bootId });
      assert.equal(round, 0);
      return missing.join();
    };
    assert.match(await check(), /note is missing: what should be in the store can't be checked/);
    await writeRoundNote(path, note);
    assert.match(await check('0'.repeat(32)), /is of another store than the database/);
    await writeFile(path, 'nonsense');
    assert.match(await check(), /note is damaged/);
  });

  it('has the id of the boot in the form that it keeps', async () => {
    assert.match(await readBootId(), /^([0-9a-f]{32})?$/);
  });
});

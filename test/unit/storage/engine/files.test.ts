import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as files from '../../../../src/storage/engine/files.js';
import { LiveFiles } from '../../../../src/storage/engine/live-files.js';

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sluice-files-'));
});
afterEach(() => rm(directory, { recursive: true }));

const at = (...names: string[]) => join(directory, ...names);

describe('files', () => {
  it('are replaced as a whole, and leave nothing beside them', async () => {
    await files.replaceFile(at('a'), 'longer text');
    await files.replaceFile(at('a'), 'text');
    assert.equal(await readFile(at('a'), 'utf8'), 'text');
    assert.deepEqual(await readdir(directory), ['a']);
  });

  it('are overwritten in place', async () => {
    await writeFile(at('a'), '12345');
    const { ino } = await stat(at('a'));
    await files.overwriteFile(at('a'), Buffer.from('xyz'));
    assert.equal(await readFile(at('a'), 'utf8'), 'xyz45');
    assert.equal((await stat(at('a'))).ino, ino);
    await files.syncFile(at('a'));
    assert.equal(await readFile(at('a'), 'utf8'), 'xyz45');
    await assert.rejects(files.overwriteFile(at('none'), Buffer.from('x')), { code: 'ENOENT' });
  });

  it('are removed if they exist', async () => {
    await writeFile(at('a'), '');
    await files.removeFile(at('a'));
    await files.removeFile(at('a'));
    assert.deepEqual(await readdir(directory), []);
  });

  it('that do not exist have no contents; other failures are told', async () => {
    await writeFile(at('a'), 'text');
    assert.equal(String(await files.readFileIfAny(at('a'))), 'text');
    assert.equal(await files.readFileIfAny(at('none')), undefined);
    await assert.rejects(files.readFileIfAny(directory), { code: 'EISDIR' });
    assert.deepEqual(await files.readDirectoryIfAny(directory), ['a']);
    assert.equal(await files.readDirectoryIfAny(at('none')), undefined);
    await assert.rejects(files.readDirectoryIfAny(at('a')), { code: 'ENOTDIR' });
  });

  it('are read in part, up to their end', async () => {
    await writeFile(at('a'), '0123456789');
    assert.equal(String(await files.readFilePart(at('a'), 3, 4)), '3456');
    assert.equal(String(await files.readFilePart(at('a'), 8, 4)), '89');
  });

  it('get directories with all parents', async () => {
    await files.makeDirectory(at('x', 'y', 'z'));
    await files.makeDirectory(at('x', 'y', 'z'));
    assert.deepEqual(await readdir(at('x', 'y')), ['z']);
    await writeFile(at('a'), '');
    await assert.rejects(files.makeDirectory(at('a', 'b')), { code: 'ENOTDIR' });
    assert.ok((await files.freeDiskBytes(directory)) > 0);
  });
});

describe('the files of an open database', () => {
  const gone = { reason: 'STORAGE_FAILED' };

  beforeEach(async () => {
    await writeFile(at('LOCK'), '');
    await writeFile(at('000004.log'), '');
    await writeFile(at('000009.sst'), '');
  });

  it('are there as long as the newest log is', async () => {
    const live = new LiveFiles(directory);
    live.check();
    live.refresh();
    await writeFile(at('000012.log'), '');
    live.refresh();
    await rm(at('000004.log'));
    live.check();
    await rm(at('000012.log'));
    assert.throws(() => live.check(), {
      ...gone,
      message: /000012.log is gone: the write-ahead log was removed/,
    });
  });

  it('are gone if the log is replaced, and followed if there is a newer one', async () => {
    const live = new LiveFiles(directory);
    await rename(at('000004.log'), at('000005.log'));
    live.check();
    await writeFile(at('other'), '');
    await rename(at('other'), at('000005.log'));
    assert.throws(() => live.check(), gone);
  });

  it('are gone with their directory', async () => {
    const live = new LiveFiles(directory);
    await rm(at('LOCK'));
    live.check();
    assert.throws(() => live.refresh(), { ...gone, message: /LOCK is gone: the data directory was removed/ });
  });

  it('are gone if another file has the name of the lock', async () => {
    const live = new LiveFiles(directory);
    await writeFile(at('other'), '');
    await rename(at('other'), at('LOCK'));
    assert.throws(() => live.refresh(), gone);
  });

  it('may have no log at first', async () => {
    await rm(at('000004.log'));
    const live = new LiveFiles(directory);
    assert.throws(() => live.check(), gone);
    await writeFile(at('000001.log'), '');
    live.check();
    live.refresh();
  });
});

import assert from 'node:assert/strict';
import { cp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock } from '../../../src/base/clock.js';
import { SluiceError } from '../../../src/base/errors.js';
import { silentLogger } from '../../../src/base/logger.js';
import { unseal } from '../../../src/storage/codec/sealed-value.js';
import { cursorsColumn, metadataColumn, producersColumn } from '../../../src/storage/engine/columns.js';
import { Engine } from '../../../src/storage/engine/engine.js';
import { everything, migrationKey } from '../../../src/storage/engine/keys.js';
import { currentFormat } from '../../../src/storage/recovery/marker.js';
import { sealSmallRecords } from '../../../src/storage/recovery/migration.js';
import { openStorage } from '../../../src/storage/storage.js';
import { checkContents } from '../../data/contents.js';
import { repositoryRoot } from '../../support/repository.js';
import { defaultOptions, makeDirectory } from './harness.js';

const data = join(repositoryRoot, 'test/data');

async function copyOf(name: string): Promise<string> {
  const directory = await makeDirectory();
  await cp(join(data, name), directory, { recursive: true });
  return directory;
}

async function open(directory: string, lines: string[] = []) {
  return await openStorage(
    { ...defaultOptions, directory },
    { clock: systemClock, logger: { ...silentLogger, info: (_, message) => lines.push(message) } },
  );
}

async function markerOf(directory: string): Promise<Record<string, unknown>> {
  return JSON.parse(await readFile(join(directory, 'sluice.json'), 'utf8'));
}

describe('storage: formats of the data directory', () => {
  const made: string[] = [];
  afterEach(async () => {
    for (const directory of made.splice(0)) await rm(directory, { recursive: true });
  });

  for (let format = 1; format <= currentFormat; format++) {
    for (const ending of ['clean', 'killed']) {
      it(`opens format ${format}, ${ending}, with everything in it, and once more`, async () => {
        const directory = await copyOf(`format-${format}-${ending}`);
        made.push(directory);
        const lines: string[] = [];
        for (let time = 0; time < 2; time++) {
          const storage = await open(directory, lines);
          await checkContents(storage);
          assert.deepEqual(storage.warnings, []);
          await storage.close();
          assert.equal((await markerOf(directory)).format, currentFormat);
        }
        const migrations = lines.filter((line) => line.startsWith('migrating'));
        assert.equal(migrations.length, format < currentFormat ? 1 : 0);
      });
    }
  }

  it('holds a data directory of every format, each below 200 KiB', async () => {
    const names = (await readdir(data)).filter((name) => name.startsWith('format-')).sort();
    const formats = Array.from({ length: currentFormat }, (_, index) => index + 1);
    assert.deepEqual(
      names,
      formats.flatMap((format) => [`format-${format}-clean`, `format-${format}-killed`]),
    );
  });

  it('finishes a migration that was cut short anywhere, and seals no record twice', async () => {
    for (let batches = 0; batches < 10; batches++) {
      const directory = await copyOf('format-1-killed');
      made.push(directory);
      await migratePartly(directory, batches);
      const storage = await open(directory);
      await checkContents(storage);
      await storage.close();
    }
  });

  it('puts a checksum into every small record', async () => {
    const directory = await copyOf('format-1-clean');
    made.push(directory);
    await (await open(directory)).close();
    const engine = await Engine.open(join(directory, 'db'), 4);
    let count = 0;
    for (const column of [metadataColumn, cursorsColumn, producersColumn]) {
      const scan = engine.scan(column, everything);
      for (const [key, value] of await scan.next(1_000)) {
        unseal(key, value);
        count++;
      }
      await scan.close();
    }
    await engine.close();
    assert(count > 15, `${count}`);
  });

  it('refuses an older marker over a migrated database, and a database of another store', async () => {
    const directory = await copyOf('format-1-clean');
    made.push(directory);
    const olderMarker = await readFile(join(directory, 'sluice.json'));
    await (await open(directory)).close();
    const marker = await readFile(join(directory, 'sluice.json'));
    await writeFile(join(directory, 'sluice.json'), olderMarker);
    const other = await copyOf('format-1-clean');
    made.push(other);
    await (await open(other)).close();
    await assert.rejects(open(directory), isLossThatNames(/sluice\.json/));

    await writeFile(join(directory, 'sluice.json'), marker);
    await rm(join(directory, 'db'), { recursive: true });
    await cp(join(other, 'db'), join(directory, 'db'), { recursive: true });
    await assert.rejects(
      open(directory),
      isLossThatNames(/sluice\.json is of store .* one of them was replaced/),
    );
  });

  it('refuses a marker with any bit flipped, or opens it whole', async () => {
    const directory = await copyOf('format-1-clean');
    made.push(directory);
    await (await open(directory)).close();
    const path = join(directory, 'sluice.json');
    const marker = await readFile(path);
    for (let bit = 0; bit < marker.length * 8; bit += 37) {
      const flipped = Buffer.from(marker);
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      await writeFile(path, flipped);
      try {
        const storage = await open(directory);
        await checkContents(storage);
        await storage.close();
      } catch (error) {
        assert(error instanceof SluiceError, String(error));
        assert.match(error.reason, /^(DATA_LOSS|DATA_DIRECTORY_(FOREIGN|NEWER)|INVALID_SETTING)$/);
        assert.match(error.message, /sluice\.json|has format|made for/);
      }
    }
  });
});

function isLossThatNames(text: RegExp) {
  return (error: unknown) => {
    assert(error instanceof SluiceError && error.reason === 'DATA_LOSS', String(error));
    assert.match(error.message, text);
    return true;
  };
}

/** As a process does that ends after so many batches of a migration, each of a few records. */
async function migratePartly(directory: string, batches: number): Promise<void> {
  const { maxPartitionCount } = await markerOf(directory);
  const engine = await Engine.open(join(directory, 'db'), Number(maxPartitionCount));
  let left = batches;
  const stop = new Error('stop');
  try {
    await sealSmallRecords(
      engine,
      () => {
        if (--left < 0) throw stop;
      },
      2,
    );
  } catch (error) {
    if (error !== stop) throw error;
    assert.notEqual(engine.get(metadataColumn, migrationKey), undefined);
  } finally {
    await engine.close();
  }
}

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SluiceError } from '../../src/base/errors.js';
import { decodeRoundNote, encodeRoundNote } from '../../src/storage/recovery/round-note.js';
import type { Storage } from '../../src/storage/types.js';
import { checkContents, fillFirstHalf } from '../data/contents.js';
import {
  append,
  commit,
  createTopic,
  makeDirectory,
  openIn,
  readAll,
} from '../integration/storage/harness.js';

const make = fileURLToPath(new URL('../data/make.js', import.meta.url));

/** One damage of one file, and what a start must say. */
interface Damage {
  readonly title: string;
  readonly damage: (directory: string) => Promise<void>;
  /** What the refusal names; absent where the store must open whole. */
  readonly names?: RegExp;
}

const database = (directory: string) => join(directory, 'db');

async function newest(directory: string, pattern: RegExp): Promise<string> {
  const names = (await readdir(database(directory))).filter((name) => pattern.test(name)).sort();
  return join(database(directory), names.at(-1)!);
}

const log = (directory: string) => newest(directory, /^\d+\.log$/);
const table = (directory: string) => newest(directory, /^\d+\.sst$/);
const note = (directory: string) => join(directory, 'last-round');

async function flip(path: string, part: number): Promise<void> {
  const bytes = await readFile(path);
  bytes[Math.floor(bytes.length * part)]! ^= 0x04;
  await writeFile(path, bytes);
}

async function cut(path: string, part: number): Promise<void> {
  const { length } = await readFile(path);
  await truncate(path, Math.floor(length * part));
}

/** As after a loss of power: written in another start of the system, and some rounds behind. */
async function olderNote(directory: string, rounds: number): Promise<void> {
  const noted = decodeRoundNote(await readFile(note(directory)))!;
  const syncedSequence = noted.syncedSequence - rounds;
  await writeFile(note(directory), encodeRoundNote({ ...noted, bootId: '', syncedSequence }));
}

const damages: Damage[] = [
  ...[0.01, 0.3, 0.6, 0.9, 0.99].flatMap((part): Damage[] => [
    {
      title: `a bit of the write-ahead log at ${part * 100} %`,
      damage: async (directory) => flip(await log(directory), part),
      names: /database ends|log/,
    },
    {
      title: `the write-ahead log cut at ${part * 100} %`,
      damage: async (directory) => cut(await log(directory), part),
      names: /database ends|log/,
    },
  ]),
  {
    title: 'a bit of the write-ahead log after a loss of power, with whole records behind it',
    damage: async (directory) => {
      await olderNote(directory, 80);
      await flip(await log(directory), 0.5);
    },
    names: /database ends/,
  },
  {
    title: 'a note some rounds behind, as after a loss of power',
    damage: (directory) => olderNote(directory, 30),
  },
  {
    title: 'the write-ahead log deleted',
    damage: async (directory) => rm(await log(directory)),
    names: /database ends/,
  },
  {
    title: 'a table deleted',
    damage: async (directory) => rm(await table(directory)),
    names: /\d+\.sst, a table of partition-002, is missing/,
  },
  {
    title: 'a table cut',
    damage: async (directory) => cut(await table(directory), 0.7),
    names: /\d+\.sst, a table of partition-002, has \d+ bytes instead of \d+/,
  },
  {
    title: 'CURRENT deleted',
    damage: (directory) => rm(join(database(directory), 'CURRENT')),
    names: /CURRENT is missing/,
  },
  {
    title: 'CURRENT altered',
    damage: (directory) => flip(join(database(directory), 'CURRENT'), 0.2),
    names: /CURRENT/,
  },
  {
    title: 'CURRENT naming an older manifest',
    damage: (directory) => writeFile(join(database(directory), 'CURRENT'), 'MANIFEST-000001\n'),
    names: /MANIFEST-000001, which CURRENT names, is missing/,
  },
  {
    title: 'the manifest deleted',
    damage: async (directory) => rm(await newest(directory, /^MANIFEST/)),
    names: /MANIFEST-\d+/,
  },
  ...[0.1, 0.4, 0.7].map(
    (part): Damage => ({
      title: `the manifest cut at ${part * 100} %`,
      damage: async (directory) => cut(await newest(directory, /^MANIFEST/), part),
      names: /MANIFEST|database|log/,
    }),
  ),
  { title: 'the lock deleted', damage: (directory) => rm(join(database(directory), 'LOCK')) },
  {
    title: 'the note of the last round deleted',
    damage: (directory) => rm(note(directory)),
    names: /last-round is missing/,
  },
  {
    title: 'a bit of the note of the last round',
    damage: (directory) => flip(note(directory), 0.5),
    names: /last-round is damaged/,
  },
  {
    title: 'the note of the last round cut',
    damage: (directory) => cut(note(directory), 0.5),
    names: /last-round is damaged/,
  },
  {
    title: 'the note of synced offsets deleted',
    damage: (directory) => rm(join(directory, 'synced-offsets')),
  },
  {
    title: 'sluice.json deleted',
    damage: (directory) => rm(join(directory, 'sluice.json')),
    names: /no sluice\.json/,
  },
];

describe('storage: files that are damaged, cut, deleted or older', () => {
  const bases = new Map<string, string>();
  const made: string[] = [];
  const copyOf = async (path: string): Promise<string> => {
    const directory = await makeDirectory();
    made.push(directory);
    await cp(path, directory, { recursive: true });
    return directory;
  };
  before(async () => {
    for (const ending of ['clean', 'killed']) {
      const directory = await makeDirectory();
      bases.set(ending, directory);
      await once(spawn(process.execPath, [make, directory, ending], { stdio: 'inherit' }), 'exit');
    }
  });
  after(async () => {
    for (const directory of bases.values()) await rm(directory, { recursive: true });
  });
  afterEach(async () => {
    for (const directory of made.splice(0)) await rm(directory, { recursive: true });
  });

  for (const ending of ['clean', 'killed']) {
    for (const { title, damage, names } of damages) {
      it(`${ending}: ${title}: ${names === undefined ? 'opens whole' : 'is refused, at the next start too'}`, async () => {
        const directory = await copyOf(bases.get(ending)!);
        await damage(directory);
        for (let start = 0; start < 2; start++) {
          if (names === undefined) await opensWhole(directory);
          else await isRefused(directory, names);
        }
        if (names !== undefined) await opensIfSaid(directory);
      });
    }
  }

  it('a file in the middle of the write-ahead log is missed, whichever it is', async () => {
    const directory = await makeDirectory();
    made.push(directory);
    const storage = await openIn(directory);
    const topicId = await createTopic(storage, 'orders', 2);
    const logs = new Set<string>();
    for (let index = 0; logs.size < 4; index++) {
      const producers = [{ topicId, producerId: `p${index}`, epoch: 1, lastSequence: 1, baseSequence: 0 }];
      // Only partition 0 fills memtables, so that the log is kept for the producers.
      await commit(storage, { appends: [append(topicId, 0, [Buffer.alloc(300_000, index)])], producers });
      for (const name of await readdir(database(directory))) if (name.endsWith('.log')) logs.add(name);
    }
    await commit(storage, {});
    const killed = await copyOf(directory);
    await storage.close();
    const names = (await readdir(database(killed))).filter((name) => name.endsWith('.log')).sort();
    assert(names.length >= 3, `${names}`);
    const whole = await openIn(await copyOf(killed));
    assert.deepEqual(whole.warnings, []);
    await whole.close();
    for (const name of names) {
      const copy = await copyOf(killed);
      await rm(join(database(copy), name));
      await isRefused(copy, /\.log|database ends/);
      const half = await copyOf(killed);
      await cut(join(database(half), name), 0.5);
      await isRefused(half, /\.log|database ends|can't be read/);
    }
  });

  it('tells every bit of the note of the last round', async () => {
    const directory = await copyOf(bases.get('killed')!);
    const bytes = await readFile(note(directory));
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const flipped = Buffer.from(bytes);
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      assert.equal(decodeRoundNote(flipped), undefined, `bit ${bit}`);
    }
  });

  it('opens with the loss accepted, and says so once', async () => {
    const directory = await copyOf(bases.get('killed')!);
    await flip(await log(directory), 0.5);
    const storage = await openIn(directory, { acceptDataLoss: true });
    assert(storage.warnings.length > 0);
    await storage.close();
    const again = await openIn(directory);
    assert.deepEqual(again.warnings, []);
    await again.close();
  });

  it('is not taken for damage while another process has the store open', async () => {
    const directory = await makeDirectory();
    made.push(directory);
    const storage = await openIn(directory);
    await fillFirstHalf(storage);
    await rm(note(directory));
    await assert.rejects(
      openIn(directory),
      (error) => error instanceof SluiceError && error.reason === 'DATA_DIRECTORY_IN_USE',
    );
    await closeFailed(storage);
  });
});

/** Its note was taken away: the last write fails, and that is not what is tested. */
async function closeFailed(storage: Storage): Promise<void> {
  await storage.close();
}

async function opensWhole(directory: string): Promise<void> {
  const storage = await openIn(directory);
  try {
    await checkContents(storage);
  } finally {
    await storage.close();
  }
}

/** Where a refusal names `--accept-data-loss`, the store opens with it, and then without. */
async function opensIfSaid(directory: string): Promise<void> {
  const refusal = await openIn(directory).then(() => assert.fail('it opened'), String);
  const isNamed = /--accept-data-loss|accept the loss/.test(refusal);
  if (!isNamed) {
    await assert.rejects(openIn(directory, { acceptDataLoss: true }));
    return;
  }
  await (await openIn(directory, { acceptDataLoss: true })).close();
  await (await openIn(directory)).close();
}

async function isRefused(directory: string, names: RegExp): Promise<void> {
  await assert.rejects(
    async () => {
      const storage = await openIn(directory);
      const served = await readAll(storage.openReader(2, 0), 0).catch(String);
      await storage.close();
      assert.fail(`it opened, and served ${JSON.stringify(served).length} bytes`);
    },
    (error) => {
      assert(error instanceof SluiceError, String(error));
      assert.match(error.reason, /^(DATA_LOSS|SYNCED_DATA_MISSING|DATA_DIRECTORY_FOREIGN)$/);
      assert.match(error.message, names);
      return true;
    },
  );
}

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Storage } from '../../src/storage/types.js';
import { makeDirectory, openIn, payloads, readAll } from '../integration/storage/harness.js';

const childPath = fileURLToPath(new URL('./storage-child.js', import.meta.url));

interface Child {
  readonly process: ChildProcess;
  readonly lines: string[];
  /** Resolves when so many lines have come, or the process has ended. */
  heard(count: number): Promise<void>;
  readonly ended: Promise<unknown>;
}

/** `fileBlocks`: no file may become larger than so many KiB. */
function start(directory: string, durability: string, payloadBytes: number, fileBlocks?: number): Child {
  const limit = fileBlocks === undefined ? '' : `ulimit -f ${fileBlocks}; `;
  const script = `${limit}exec "$0" "$@"`;
  const args = [process.execPath, childPath, directory, durability, String(payloadBytes)];
  const child = spawn('bash', ['-c', script, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines: string[] = [];
  const reader = createInterface(child.stdout);
  let wake = (): void => {};
  reader.on('line', (line) => {
    lines.push(line);
    wake();
  });
  const ended = once(reader, 'close');
  return {
    process: child,
    lines,
    ended,
    async heard(count) {
      const enough = new Promise<void>((resolve) => {
        wake = () => {
          if (lines.length >= count) resolve();
        };
        wake();
      });
      await Promise.race([enough, ended]);
    },
  };
}

/** Checks that everything that was committed is there, once; answers how much there is. */
async function check(storage: Storage, lines: readonly string[]): Promise<number> {
  const topicId = storage.recovered.topics[0]!.topicId;
  const all = await Promise.all(
    [0, 1, 2].map(async (partition) => payloads(await readAll(storage.openReader(topicId, partition), 0))),
  );
  const nameOf = (message: string): string => message.replace(/x*$/, '');
  for (const line of lines) {
    const [partition, offset, name] = line.split(' ') as [string, string, string];
    assert.equal(nameOf(all[Number(partition)]![Number(offset)]!), name, `offset ${offset} of ${partition}`);
  }
  // Atomic: of every transaction, both messages are there or none, and the producer stands at the last.
  const counts = new Map<string, number>();
  for (const name of all.flat().map(nameOf)) counts.set(name, (counts.get(name) ?? 0) + 1);
  for (const [name, count] of counts) assert.equal(count, 2, name);
  for (let writer = 0; writer < 6; writer++) {
    const stored = [...counts.keys()].filter((name) => name.startsWith(`${writer}:`)).length;
    const producer = await storage.readProducer(topicId, `producer-${writer}`);
    assert.equal(producer?.lastSequence ?? 0, stored);
  }
  return all.flat().length;
}

describe('storage: crashes', () => {
  let directory: string;
  let child: Child;
  beforeEach(async () => {
    directory = await makeDirectory();
  });
  afterEach(async () => {
    child.process.kill('SIGKILL');
    await child.ended;
    await rm(directory, { recursive: true });
  });

  for (const durability of ['synced', 'written']) {
    it(`has everything that was committed (${durability}) after a kill`, async () => {
      child = start(directory, durability, 2_000);
      await child.heard(3_000);
      child.process.kill('SIGKILL');
      await child.ended;
      assert(child.lines.length >= 3_000);
      const storage = await openIn(directory);
      try {
        assert((await check(storage, child.lines)) >= child.lines.length);
        assert.deepEqual(storage.warnings, []);
      } finally {
        await storage.close();
      }
    });
  }

  it('fails once and for good when a write fails, and opens again with all that was committed', async () => {
    child = start(directory, 'synced', 50_000, 3_000);
    await child.ended;
    const committed = child.lines.filter((line) => /^\d/.test(line));
    const rest = child.lines.filter((line) => !/^\d/.test(line));
    assert(committed.length > 20, `${committed.length}`);
    const failures = rest.filter((line) => line.startsWith('failed '));
    assert.deepEqual(failures, Array(6).fill('failed STORAGE_FAILED'), 'all that was under way');
    assert.deepEqual(
      rest.filter((line) => !failures.includes(line)),
      ['listener STORAGE_FAILED', 'refused STORAGE_FAILED', 'closed'],
    );
    const storage = await openIn(directory);
    try {
      await check(storage, committed);
    } finally {
      await storage.close();
    }
  });
});

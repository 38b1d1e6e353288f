import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../src/base/clock.js';
import { createRandom } from '../../src/base/random.js';
import { KiB, MiB } from '../../src/base/units.js';
import type { BenchCase, BenchSettings } from '../bench-case.js';
import { randomBytes } from '../load/request-pool.js';
import { count, type Row } from '../report.js';

const sizes = [
  { variant: '128B', bytes: 128 },
  { variant: '64KiB', bytes: 64 * KiB },
  { variant: '1MiB', bytes: 1 * MiB },
];

/** What the disk gives to a program that does nothing else: the other rates are to be read against these. */
export const floor: BenchCase = {
  name: 'floor',
  about: 'appends to a file, each followed by fdatasync',
  run: async (settings) => sizes.map(({ variant, bytes }) => append(variant, bytes, settings)),
};

function append(variant: string, bytes: number, { measureMs }: BenchSettings): Row {
  const directory = mkdtempSync(join(tmpdir(), 'sluice-floor-'));
  const file = openSync(join(directory, 'log'), 'w');
  const block = randomBytes(bytes, createRandom(1));
  const startMs = systemClock.monotonicMs();
  let appends = 0;
  let elapsedMs = 0;
  do {
    writeSync(file, block);
    fdatasyncSync(file);
    appends += 1;
    elapsedMs = systemClock.monotonicMs() - startMs;
  } while (elapsedMs < measureMs / 2);
  closeSync(file);
  rmSync(directory, { recursive: true });
  const appendsPerSecond = (appends * 1000) / elapsedMs;
  const mibPerSecond = (appendsPerSecond * bytes) / MiB;
  return {
    name: `floor/${variant}`,
    result: `${count(appendsPerSecond)} synced appends/s, ${mibPerSecond.toFixed(1)} MiB/s`,
    values: { appendsPerSecond, mibPerSecond },
    check: '',
  };
}

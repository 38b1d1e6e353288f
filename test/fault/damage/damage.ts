import { readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createRandom } from '../../../src/base/random.js';
import { Chance } from '../../simulation/chance.js';
import type { Variant } from './stores.js';
import { tornRecord } from './torn-record.js';

/** Files of one kind are damaged alike. `side`: beside the database. `rest`: of the database, without content. */
export type FileKind =
  | 'wal'
  | 'table'
  | 'manifest'
  | 'current'
  | 'options'
  | 'identity'
  | 'side'
  | 'rest'
  | 'database';

/** As often as they are damaged: 20, so that 60 seeds in a row damage each as often in each kind of store. */
const kindCycle: readonly FileKind[] = [
  ...['wal', 'table', 'side', 'wal', 'manifest', 'table', 'wal', 'table', 'current', 'wal'],
  ...['table', 'manifest', 'side', 'table', 'options', 'wal', 'table', 'identity', 'manifest', 'side'],
] as FileKind[];

/** How a file is damaged, as often as the weight says. */
const anyWeights = { flip: 5, flips: 2, overwrite: 2, zero: 2, cut: 3, append: 1, delete: 2, older: 3 };
/** A table of another length is found when it is opened; what matters is damage within. */
const tableWeights = { flip: 8, flips: 3, overwrite: 4, zero: 4, cut: 1, append: 1, delete: 1, older: 1 };
/** What a kill in the middle of a write leaves is no damage. */
const logWeights = { ...anyWeights, torn: 2 };
type Method = keyof typeof logWeights;

export interface Plan {
  readonly seed: number;
  readonly variant: Variant;
  readonly kind: FileKind;
}

/** The stores that a seed chooses from. */
const damagedVariants = ['stopped', 'killed', 'fresh'] as const;

/** One run of so many ends with losses that are served, whatever the seed: see `servedLoss`. */
const servedLossEvery = 20;

/** What a run does: seeds in a row go through the stores and the kinds of files. */
export function planOf(seed: number): Plan {
  if (seed % servedLossEvery === servedLossEvery - 1) return { seed, variant: 'flushed', kind: 'table' };
  const variant = damagedVariants[seed % damagedVariants.length]!;
  const kind = kindCycle[Math.floor(seed / damagedVariants.length) % kindCycle.length]!;
  // One in so many takes the whole database, or a file that holds nothing of the store.
  const chance = new Chance(seed ^ 0x5a5a);
  if (kind === 'identity' && chance.oneIn(2)) return { seed, variant, kind: 'rest' };
  if (kind === 'current' && chance.oneIn(3)) return { seed, variant, kind: 'database' };
  // A young store has no tables.
  if (kind === 'table' && variant === 'fresh') return { seed, variant, kind: 'wal' };
  return { seed, variant, kind };
}

export interface Damage {
  /** What was done, with file and place. */
  readonly text: string;
  readonly file: string;
  readonly method: Method;
  /** Where in the file the damage begins, where it has a place. */
  readonly at?: number;
  readonly fileBytes: number;
  /** Bytes that are not what they were. */
  readonly damagedBytes: number;
}

/** Damages a copy of a store. `olderCopies` are whole data directories of earlier moments. */
export function applyDamage(plan: Plan, directory: string, olderCopies: readonly string[]): Damage {
  const chance = new Chance(Math.floor(createRandom(plan.seed).next() * 2 ** 32));
  if (plan.kind === 'database') {
    rmSync(join(directory, 'db'), { recursive: true });
    const damage = { file: 'db', method: 'delete', fileBytes: 0, damagedBytes: Infinity } as const;
    return { ...damage, text: 'db/ deleted' };
  }
  if (plan.variant === 'flushed') return servedLoss(chance, directory);
  const files = filesOf(directory, plan.kind);
  const file = pickFile(chance, directory, files);
  const weights =
    plan.kind === 'table'
      ? tableWeights
      : plan.kind === 'wal' && plan.variant !== 'stopped'
        ? logWeights
        : anyWeights;
  return damageFile(chance, chance.weighted(weights), directory, file, olderCopies);
}

/**
 * A bit in the middle of the largest table, where its largest message is. No compaction meets it, so the broker serves the
 * store without that message, and every 20 runs contain this verdict.
 */
function servedLoss(chance: Chance, directory: string): Damage {
  const sizeOf = (file: string) => statSync(join(directory, file)).size;
  const file = filesOf(directory, 'table').reduce((a, b) => (sizeOf(a) >= sizeOf(b) ? a : b));
  const bytes = readFileSync(join(directory, file));
  const at = Math.floor(bytes.length * (0.4 + 0.2 * chance.random.next()));
  const { text, ...changed } = changeBytes(chance, 'flip', bytes, at);
  writeFileSync(join(directory, file), changed.bytes);
  const fileBytes = bytes.length;
  return {
    text: `${file} (${fileBytes} bytes): ${text}`,
    file,
    method: 'flip',
    at,
    fileBytes,
    damagedBytes: 1,
  };
}

/** Any of them, or a large one: most tables are small, and most bytes lie in the large ones. */
function pickFile(chance: Chance, directory: string, files: readonly string[]): string {
  const sizes = files.map((file) => [file, statSync(join(directory, file)).size + 1] as const);
  return chance.oneIn(2) ? chance.pick(files)! : chance.weighted(Object.fromEntries(sizes));
}

/** Paths in a data directory, sorted. */
function filesOf(directory: string, kind: FileKind): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(directory.length + 1))
    .filter((path) => kindOf(path) === kind)
    .sort();
}

function kindOf(path: string): FileKind {
  const name = path.startsWith('db/') ? path.slice(3) : undefined;
  if (name === undefined) return 'side';
  if (/^\d+\.log$/.test(name)) return 'wal';
  if (/^\d+\.sst$/.test(name)) return 'table';
  if (/^MANIFEST-/.test(name)) return 'manifest';
  if (/^OPTIONS-/.test(name)) return 'options';
  if (name === 'CURRENT') return 'current';
  return name === 'IDENTITY' ? 'identity' : 'rest';
}

function damageFile(
  chance: Chance,
  method: Method,
  directory: string,
  file: string,
  olderCopies: readonly string[],
): Damage {
  const path = join(directory, file);
  const bytes = readFileSync(path);
  const done = (text: string, damagedBytes: number, at?: number): Damage => ({
    text: `${file} (${bytes.length} bytes): ${text}`,
    file,
    method,
    fileBytes: bytes.length,
    damagedBytes,
    ...(at !== undefined && { at }),
  });

  if (method === 'delete') {
    rmSync(path);
    return done('deleted', bytes.length);
  }
  if (method === 'older') {
    const older = olderContent(chance, file, bytes, olderCopies);
    if (older === undefined) return damageFile(chance, 'cut', directory, file, olderCopies);
    writeFileSync(path, older.content);
    return done(`replaced by ${older.name}`, bytes.length);
  }
  if (method === 'torn') {
    const torn = tornRecord(bytes.length, 100 + chance.below(100_000), chance.random.next());
    writeFileSync(path, Buffer.concat([bytes, torn]));
    return done(`${torn.length} bytes of an unfinished record appended`, 0, bytes.length);
  }
  if (method === 'append' || bytes.length === 0) {
    const garbage = randomBytes(chance, 1 + chance.below(4_000));
    writeFileSync(path, Buffer.concat([bytes, garbage]));
    return done(`${garbage.length} bytes appended`, garbage.length, bytes.length);
  }
  const at = placeIn(chance, bytes.length);
  if (method === 'cut') {
    truncateSync(path, at);
    return done(`cut to ${at} bytes`, bytes.length - at, at);
  }
  const changed = changeBytes(chance, method, bytes, at);
  writeFileSync(path, changed.bytes);
  return done(changed.text, changed.count, at);
}

function changeBytes(chance: Chance, method: Method, original: Buffer, at: number) {
  const bytes = Buffer.from(original);
  const room = bytes.length - at;
  if (method === 'flip') {
    const bit = chance.below(8);
    bytes[at]! ^= 1 << bit;
    return { bytes, text: `bit ${bit} of byte ${at} flipped`, count: 1 };
  }
  if (method === 'flips') {
    const count = 2 + chance.below(20);
    for (let index = 0; index < count; index++) bytes[placeIn(chance, bytes.length)]! ^= 1 << chance.below(8);
    return { bytes, text: `${count} bits flipped`, count: Infinity };
  }
  const count = Math.min(room, method === 'zero' ? 1 + chance.below(5_000) : 1 + chance.below(64));
  if (method === 'zero') bytes.fill(0, at, at + count);
  else randomBytes(chance, count).copy(bytes, at);
  return { bytes, text: `${count} bytes from ${at} ${method === 'zero' ? 'zeroed' : 'overwritten'}`, count };
}

/** Anywhere; now and then near the beginning or the end, where formats keep what matters. */
function placeIn(chance: Chance, length: number): number {
  const near = Math.min(length, 120);
  if (chance.oneIn(6)) return chance.below(near);
  if (chance.oneIn(5)) return length - 1 - chance.below(near);
  return chance.below(length);
}

/** The same file as it was earlier, or another one of its kind. */
function olderContent(chance: Chance, file: string, present: Buffer, olderCopies: readonly string[]) {
  const all = olderCopies.flatMap((copy, index) =>
    filesOf(copy, kindOf(file)).map((name) => ({ copy, index, name })),
  );
  const candidates = all
    .map(({ copy, index, name }) => ({
      name: `${name} of copy ${index}`,
      isSame: name === file,
      content: readFileSync(join(copy, name)),
    }))
    .filter(({ content }) => !content.equals(present));
  const same = candidates.filter(({ isSame }) => isSame);
  return chance.pick(same.length > 0 ? same : candidates);
}

function randomBytes(chance: Chance, length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => chance.below(256)));
}

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { limits } from '../../src/base/limits.js';
import { divideBudget, type MemoryBudget, smallestRestBytes } from '../../src/base/memory-budget.js';
import { dayMs, GiB, hourMs, KiB, MiB, minuteMs, secondMs } from '../../src/base/units.js';
import { schema } from '../../src/config/schema.js';
import { repositoryRoot } from '../support/repository.js';

/** Limits that are no bounds on the path of a message, by what they are. */
const elsewhere: Readonly<Record<string, readonly string[]>> = {
  'the range of a setting or of a field of a configuration': [
    'maxPartitionCount',
    'largestMaxPartitionCount',
    'largestMaxRequestBytes',
    'smallestWindowBytes',
    'largestWindowBytes',
    'largestConcurrentReads',
    'maxConsumerIdLength',
    'longestTopicNameLength',
    'maxTopics',
    'minAckDeadlineMs',
    'maxAckDeadlineMs',
    'maxBackoffMs',
    'maxAttempts',
    'defaultMinBackoffMs',
    'defaultMaxBackoffMs',
  ],
  'lists of topics and subscriptions': ['maxPageSize', 'defaultPageSize', 'maxPageTokenLength'],
  'how a part of the queue or of the memory is computed': [
    'levelsPerQueue',
    'owedPerRound',
    'mostOwedShare',
    'usualRequestBytes',
    'answerOverheadBytes',
    'rangeOverheadBytes',
    'memtableBytes',
    'fullMemtables',
    'diskBytesPerByte',
    'decompressionBytes',
    'forgetHostMs',
  ],
  'how often something is done or tried again': [
    'redriveProgressEveryMs',
    'keepaliveEveryMs',
    'keepaliveTimeoutMs',
    'syncedOffsetsEveryMs',
    'heartbeatEveryMs',
    'heartbeatsAtOnce',
    'heartbeatPauseMs',
    'freeDiskCheckEveryMs',
    'freeDiskRecheckMs',
    'retentionEveryMs',
    'backlogMeasureDelayMs',
    'backlogRetryAfterMs',
    'diskRetryAfterMs',
  ],
  'start, end, log and metrics': [
    'cursorReadsAtOnce',
    'drainGraceMs',
    'lingerMs',
    'cutOffMs',
    'closeStoreMs',
    'failureGraceMs',
    'logQueueBytes',
    'adminConnections',
    'adminIdleMs',
    'closeAdminMs',
  ],
};

/** Limits of the client program. */
const isOfTheCommandLine = (name: string) => /^cli[A-Z]|^(?:pipe|socketPipe)Bytes$/.test(name);

const factors: Readonly<Record<string, number>> = {
  KiB,
  MiB,
  GiB,
  ms: 1,
  s: secondMs,
  min: minuteMs,
  h: hourMs,
  days: dayMs,
};

interface Row {
  readonly section: string;
  readonly name: string;
  readonly setting: string;
  readonly value: number;
  readonly file: string;
  readonly effect: string;
}

function rowsOf(page: string): Row[] {
  const rows: Row[] = [];
  let section = '';
  for (const line of page.split('\n')) {
    if (line.startsWith('## ')) section = line.slice(3);
    const cells = /^\| (.*) \|$/
      .exec(line.replaceAll('`', '').replaceAll(/\|(?= \|)/g, '| '))?.[1]
      ?.split(' | ');
    if (cells === undefined || cells[0] === 'bound' || cells[0]!.startsWith('---')) continue;
    const [name, setting, value, unit, file, effect] = cells.map((cell) => cell.trim());
    rows.push({
      section,
      name: name!,
      setting: setting!,
      value: numberOf(value!) * (factors[unit!.split(' ')[0]!] ?? 1),
      file: file!,
      effect: effect ?? '',
    });
  }
  return rows;
}

function numberOf(text: string): number {
  const [numerator, denominator = '1'] = text.replaceAll(',', '').split('/');
  return Number(numerator) / Number(denominator);
}

/** Each part of the memory, of what is left when the queue, the tail and the memory for reuse are subtracted. */
function partsOfTheRest(): Map<string, number> {
  const sizes = { writerQueueBytes: 0, tailBytes: 0 };
  const smallest = divideBudget({ ...sizes, maxInFlightBytes: smallestRestBytes });
  const larger = divideBudget({ ...sizes, maxInFlightBytes: smallestRestBytes + MiB });
  const names = Object.keys(smallest) as (keyof MemoryBudget)[];
  return new Map(names.map((name) => [name, (larger[name] - smallest[name]) / MiB]));
}

describe('docs/dev/bounds.md', () => {
  const rows = rowsOf(readFileSync(join(repositoryRoot, 'docs/dev/bounds.md'), 'utf8'));
  const settings = Object.entries(schema);
  const parts = partsOfTheRest();
  const isPart = ({ section, name }: Row) => section === 'The sum' && name !== 'maxInFlightBytes';
  const ofLimits = rows.filter((row) => !isPart(row));

  it('has the value of each bound in the code', () => {
    assert.ok(rows.length > 80, 'the tables were not found');
    const code = new Map<string, number>(Object.entries(limits));
    for (const { name, value } of ofLimits) assert.equal(value, code.get(name), name);
  });

  it('names the setting of each bound that has one', () => {
    for (const { name, setting, value } of ofLimits) {
      // A setting has the name of its limit, or of the default in the limits.
      const own = settings.find(([each]) => [name, name.replace(/^default./, lowered)].includes(each));
      assert.equal(setting, own?.[1].flag ?? '', name);
      if (own !== undefined) assert.equal(own[1].fallback, value, name);
    }
  });

  it('names a file that exists, and that reads the limit if it is no setting', () => {
    for (const row of rows) {
      const path = join(repositoryRoot, 'src', row.file);
      assert.ok(existsSync(path), `${row.name}: src/${row.file}`);
      if (row.setting !== '' || isPart(row) || row.name === 'defaultAckDeadlineMs') continue;
      assert.match(readFileSync(path, 'utf8'), new RegExp(`\\blimits\\.${row.name}\\b`), row.name);
    }
  });

  it('has the parts of the memory in flight', () => {
    const listed = rows.filter(isPart).map(({ name, value }) => [name, value]);
    assert.deepEqual(listed, [...parts]);
  });

  it('says what happens at each bound', () => {
    for (const { name, effect } of rows) assert.match(effect, /^[A-Z`].{10,}/, name);
  });

  it('lists every limit once, unless it is no bound on the path of a message', () => {
    const listed = [...ofLimits.map(({ name }) => name), ...Object.values(elsewhere).flat()].sort();
    const all = Object.keys(limits).filter((name) => !isOfTheCommandLine(name));
    assert.deepEqual(listed, all.sort());
  });
});

function lowered(prefixed: string): string {
  return prefixed.at(-1)!.toLowerCase();
}

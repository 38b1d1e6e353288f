import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { minuteMs } from '../../src/base/units.js';
import { BrokerProcess, showLogOnFailure } from '../support/broker-process.js';
import { distDirectory, repositoryRoot } from '../support/repository.js';
import { runKills } from './kill-run.js';

/** Kills after which a broker that breaks its promise must have been caught. */
const mostKills = 20;

/** The writer thread, compiled: where it commits and then answers. */
const writerPath = 'src/storage/commit/writer-thread.js';
const commitsFirst = `
        await write(round, isSynced);
        answer({ kind: 'written', block: round.block }, [round.block]);
`;
const answersFirst = `
        const copy = round.block.slice(0);
        answer({ kind: 'written', block: copy }, [copy]);
        await new Promise((resolve) => setTimeout(resolve, 25));
        await write(round, isSynced);
`;

/** The kill test of a broker that is known to be broken: if this finds nothing, that proves nothing. */
describe('kill -9 under load, with a writer that answers before it commits', () => {
  let directory: string | undefined;
  let broker: BrokerProcess;

  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'sluice-control-'));
    const dist = join(directory, 'dist');
    cpSync(join(distDirectory, 'src'), join(dist, 'src'), { recursive: true });
    for (const name of ['node_modules', 'package.json']) {
      symlinkSync(join(repositoryRoot, name), join(directory, name));
    }
    const writer = join(dist, writerPath);
    const source = readFileSync(writer, 'utf8');
    assert.equal(source.split(commitsFirst).length, 2, `${writerPath} has changed: adapt what is replaced`);
    writeFileSync(writer, source.replace(commitsFirst, answersFirst));
    broker = new BrokerProcess({ dist });
  });
  showLogOnFailure(() => broker);
  after(async () => {
    await broker?.dispose();
    if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
  });

  it('is caught', async function () {
    this.timeout(10 * minuteMs);
    this.slow(minuteMs);
    const { violations, kills } = await runKills({ seed: 1, kills: mostKills, broker });
    const kinds = new Set(violations.map((violation) => violation.kind));
    console.log(`      caught after ${kills} kills: ${[...kinds].join(', ')}`);
    const isLossFound = (['forgotten', 'lost', 'resettled', 'changed'] as const).some((kind) =>
      kinds.has(kind),
    );
    assert.ok(isLossFound, `no loss was found in ${kills} kills: ${[...kinds].join(', ')}`);
  });
});

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BrokerProcess } from '../support/broker-process.js';
import { execCli, spawnCli } from '../support/cli-process.js';

describe('sluice publish to a broker whose disk is nearly full', function () {
  this.slow(20_000);
  let directory: string;
  let broker: BrokerProcess | undefined;

  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'sluice-held-'));
  });
  afterEach(async () => {
    await broker?.dispose();
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  it('says that the disk is why it waits, and which lines are not stored when it is interrupted', async () => {
    // A topic can't be made any more on a disk that is nearly full.
    broker = await BrokerProcess.start({ dataDirectory: directory });
    assert.equal((await execCli(broker.address, ['topic', 'create', 'orders'])).exitCode, 0);
    await broker.dispose();
    broker = await BrokerProcess.start({
      dataDirectory: directory,
      args: ['--min-free-disk-bytes', '1000TiB'],
    });
    const { child, exited } = spawnCli(broker.address, ['publish', 'orders', '--json']);
    child.stdin!.end('one\ntwo\n');
    const [line] = await once(child.stderr!, 'data');
    assert.match(line.toString(), /^sluice: waiting: the disk of the broker is nearly full; /);
    child.kill('SIGTERM');
    const { exitCode, stderr } = await exited;
    assert.equal(exitCode, 130);
    assert.match(stderr, /not known to be stored: lines 1-2/);
    assert(!stderr.includes('continuing'), stderr);
  });
});

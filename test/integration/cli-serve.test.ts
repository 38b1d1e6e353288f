import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { minuteMs } from '../../src/base/units.js';
import { BrokerProcess } from '../support/broker-process.js';
import { execCli } from '../support/cli-process.js';

describe('sluice serve', function () {
  this.timeout(minuteMs);
  let broker: BrokerProcess;
  let directory: string;

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'sluice-serve-'));
    broker = await BrokerProcess.start();
  });
  after(async () => {
    await broker.dispose();
    rmSync(directory, { recursive: true, force: true });
  });

  const serve = (...args: string[]) => execCli(broker.address, ['serve', '--log-level', 'error', ...args]);

  it('refuses a data directory that is in use, in words', async () => {
    const { exitCode, stderr } = await serve('--data-dir', broker.dataDirectory, '--listen', '127.0.0.1:0');
    assert.equal(exitCode, 1);
    assert.match(stderr, /^sluice: .* in use .*\(DATA_DIRECTORY_IN_USE\)\n {2}.*--data-dir\n$/);
  });

  it('refuses an address that is in use, in words', async () => {
    const { exitCode, stderr } = await serve('--data-dir', join(directory, 'a'), '--listen', broker.address);
    assert.equal(exitCode, 1);
    assert.match(stderr, /^sluice: can't listen on .*EADDRINUSE/m);
    assert.match(stderr, /--listen/);
    assert.doesNotMatch(stderr, /^ +at /m, 'a stack is no message');
  });

  it('refuses settings before it touches anything, all of them at once', async () => {
    const config = join(directory, 'config.json');
    writeFileSync(config, JSON.stringify({ 'tail-bytes': 'much' }));
    const { exitCode, stderr } = await serve('--config', config, '--max-streams', '0', '--colour', 'red');
    assert.equal(exitCode, 2);
    for (const fault of ['"tail-bytes"', '--max-streams must be at least 1', '--colour is not a setting']) {
      assert(stderr.includes(fault), `${fault} is not in: ${stderr}`);
    }
  });

  it('takes settings from a file, and tells them to its clients', async () => {
    const config = join(directory, 'good.json');
    writeFileSync(config, JSON.stringify({ 'max-message-bytes': '2MiB', 'default-durability': 'written' }));
    const other = await BrokerProcess.start({ args: ['--config', config] });
    try {
      const info = JSON.parse((await execCli(other.address, ['info', '--json'])).stdout.toString());
      assert.equal(info.maxMessageBytes, String(2 * 1024 * 1024));
      assert.equal(info.defaultDurability, 'DURABILITY_WRITTEN');
      assert.deepEqual(await other.stop(), { code: 0, signal: null });
    } finally {
      await other.dispose();
    }
  });
});

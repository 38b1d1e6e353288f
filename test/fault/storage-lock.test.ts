import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { minuteMs } from '../../src/base/units.js';
import { BrokerProcess } from '../support/broker-process.js';
import { cliPath, distDirectory } from '../support/repository.js';

const run = promisify(execFile);
const cli = join(distDirectory, cliPath);

/** `sluice serve` on a directory, started by another command where one is given. */
async function serveOn(directory: string, prefix: readonly string[] = []): Promise<string> {
  const [command, ...args] = [...prefix, process.execPath, cli, 'serve'];
  const settings = ['--listen', '127.0.0.1:0', '--data-dir', directory];
  const started = run(command!, [...args, ...settings], { timeout: minuteMs });
  return await started.then(
    () => assert.fail('a second broker serves the directory'),
    ({ stderr }: { stderr: string }) => stderr,
  );
}

describe('storage: a second broker on a data directory that is served', function () {
  this.timeout(2 * minuteMs);
  let scratch: string;
  let broker: BrokerProcess;

  beforeEach(async () => {
    scratch = mkdtempSync(join(tmpdir(), 'sluice-lock-'));
    broker = await BrokerProcess.start({ dataDirectory: join(scratch, 'data') });
    // What a start removes or changes where no broker is at work.
    writeFileSync(join(scratch, 'data/reserve'), 'space');
    writeFileSync(join(scratch, 'data/damage.json'), '{}');
  });
  afterEach(async () => {
    await broker.dispose();
    rmSync(scratch, { recursive: true, force: true });
  });

  async function isRefused(directory: string, at = directory, prefix: readonly string[] = []): Promise<void> {
    const note = readFileSync(join(at, 'last-round'));
    assert.match(await serveOn(directory, prefix), /DATA_DIRECTORY_IN_USE/);
    assert.equal(readFileSync(join(at, 'reserve'), 'utf8'), 'space');
    assert.equal(readFileSync(join(at, 'damage.json'), 'utf8'), '{}');
    assert.deepEqual(readFileSync(join(at, 'last-round')), note);
    assert(broker.isRunning);
  }

  it('is refused, and changes nothing, through a symbolic link', async () => {
    symlinkSync(join(scratch, 'data'), join(scratch, 'link'));
    await isRefused(join(scratch, 'link'));
  });

  it('is refused, and changes nothing, where the directory was renamed', async () => {
    renameSync(join(scratch, 'data'), join(scratch, 'renamed'));
    await isRefused(join(scratch, 'renamed'));
  });

  it('is refused, and changes nothing, through a bind mount', async function () {
    const mounted = join(scratch, 'mounted');
    mkdirSync(mounted);
    const inNamespace = ['unshare', '--mount'];
    if (!(await isPermitted([...inNamespace, 'mount', '--bind', scratch, mounted]))) this.skip();
    const mount = `mount --bind '${join(scratch, 'data')}' '${mounted}' && exec "$@"`;
    await isRefused(mounted, join(scratch, 'data'), [...inNamespace, 'sh', '-c', mount, 'sh']);
  });

  it('is refused, and changes nothing, from a container that does not see the first one', async function () {
    const prefix = ['unshare', '--pid', '--fork', '--mount-proc'];
    if (!(await isPermitted([...prefix, 'true']))) this.skip();
    await isRefused(join(scratch, 'data'), join(scratch, 'data'), prefix);
  });
});

async function isPermitted([command, ...args]: readonly string[]): Promise<boolean> {
  return await run(command!, args).then(
    () => true,
    () => false,
  );
}

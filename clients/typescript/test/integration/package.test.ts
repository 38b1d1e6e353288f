import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { useBroker } from '../../../../test/support/broker-process.js';
import { repositoryRoot } from '../../../../test/support/repository.js';

const run = promisify(execFile);

const program = `
import { connect, type Delivery } from '@sluice/client';
import { Ordering } from '@sluice/client/api';

const client = connect(process.argv[2]!);
await client.admin.createTopic({ topic: { name: 'orders' } });
await client.admin.createSubscription({
  subscription: { topic: 'orders', name: 'billing', ordering: Ordering.KEY },
});
const producer = await client.producer({ topic: 'orders' });
await producer.send({ payload: 'two tickets' });
await producer.close();
const consumer = client.consumer({ topic: 'orders', subscription: 'billing' });
await consumer.run(({ payload }: Delivery) => {
  console.log(payload.toString());
  void consumer.close();
});
client.close();
`;

describe('the package of the TypeScript client', () => {
  const broker = useBroker();
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'sluice-package-'));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  it('compiles and runs in an empty folder, with nothing but what it depends on', async () => {
    const npm = ['pack', '--workspace', '@sluice/client', '--pack-destination', folder, '--json'];
    await run('npm', npm, { cwd: repositoryRoot });
    const [archive] = readdirSync(folder);
    const modules = join(folder, 'node_modules');
    const own = join(modules, '@sluice/client');
    mkdirSync(own, { recursive: true });
    await run('tar', ['-xzf', join(folder, archive!), '-C', own, '--strip-components=1']);
    const { dependencies } = JSON.parse(readFileSync(join(own, 'package.json'), 'utf8'));
    for (const name of [...Object.keys(dependencies), '@types/node']) {
      mkdirSync(join(modules, name, '..'), { recursive: true });
      symlinkSync(join(repositoryRoot, 'node_modules', name), join(modules, name));
    }
    writeFileSync(join(folder, 'program.mts'), program);
    const compiler = join(repositoryRoot, 'node_modules/.bin/tsc');
    const flags = ['--strict', '--module', 'nodenext', '--target', 'es2023', '--types', 'node'];
    await run(compiler, [...flags, 'program.mts'], { cwd: folder });
    const { stdout } = await run(process.execPath, ['program.mjs', broker.address], { cwd: folder });
    assert.equal(stdout, 'two tickets\n');
  });
});

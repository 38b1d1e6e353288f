import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { BrokerProcess, useBroker } from '../../../../test/support/broker-process.js';
import { cacheDirectory, distDirectory, repositoryRoot } from '../../../../test/support/repository.js';

const run = promisify(execFile);

describe('the examples of the TypeScript client', () => {
  const broker = useBroker();

  it('do what the README says of the first', async () => {
    const readme = readFileSync(join(repositoryRoot, 'clients/typescript/README.md'), 'utf8');
    const example = /```ts\n(.*?)```/s.exec(readme)![1]!;
    assert(example.includes("'127.0.0.1:7070'"));
    mkdirSync(cacheDirectory, { recursive: true });
    // Below node_modules, where the client is found.
    const file = join(cacheDirectory, 'readme-example.mjs');
    writeFileSync(file, example.replace('127.0.0.1:7070', broker.address));
    const { stdout } = await run(process.execPath, [file]);
    assert.equal(stdout, 'stored in partition 0 at offset 0\ntwo tickets\n');
  });

  it('bill orders', async () => {
    const example = join(distDirectory, 'clients/typescript/examples/orders.js');
    // The first has made a topic of that name already.
    const fresh = await BrokerProcess.start();
    try {
      const { stdout } = await run(process.execPath, [example, fresh.address]);
      assert.match(stdout, /^30 orders are durable\norder 7 of ben fails, attempt 1\n/);
      assert.match(stdout, /29 orders were billed\n$/);
    } finally {
      await fresh.dispose();
    }
  });
});

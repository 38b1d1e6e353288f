import assert from 'node:assert/strict';
import { connect, type SluiceClient } from '@sluice/client';
import { useBroker } from '../support/broker-process.js';
import { execCli } from '../support/cli-process.js';
import { publish } from '../support/producer.js';
import { until } from '../support/until.js';

describe('a topic without a retention limit', () => {
  const broker = useBroker();
  let client: SluiceClient;
  before(() => {
    client = connect(broker.address);
  });
  after(() => client.close());

  const hint = /has no retention limit: its messages fill the disk.*\n.*topic update .* --retention-age 7d/;
  const isLogged = (topic: string) =>
    broker.logLines.some(
      (line) => line.includes('created without a retention limit') && line.includes(`"topic":"${topic}"`),
    );

  it('is named by the command that makes it, and by the log', async () => {
    const { exitCode, stdout, stderr } = await execCli(broker.address, [
      'topic',
      'create',
      'endless',
      '--json',
    ]);
    assert.equal(exitCode, 0);
    assert.equal(JSON.parse(stdout.toString()).name, 'endless');
    assert.match(stderr, hint);
    await until(() => isLogged('endless'));
  });

  it('is named by the log when it is made on the way', async () => {
    await publish(client, 'on-the-way', ['m']);
    await until(() => isLogged('on-the-way'));
  });

  it('is not named where there is a limit of any kind', async () => {
    const limits = [
      ['--retention-age', '1d'],
      ['--retention-bytes', '1GiB'],
      ['--until-acknowledged', 'true'],
    ];
    for (const [i, limit] of limits.entries()) {
      const { stderr } = await execCli(broker.address, ['topic', 'create', `limited-${i}`, ...limit]);
      assert.equal(stderr, '');
    }
    // The lines come in order: behind that of a later topic, none is on its way.
    await execCli(broker.address, ['topic', 'create', 'behind-the-limited']);
    await until(() => isLogged('behind-the-limited'));
    for (const i of limits.keys()) assert.equal(isLogged(`limited-${i}`), false);
    const update = ['topic', 'update', 'limited-0', '--retention-age'];
    assert.equal((await execCli(broker.address, [...update, '2d'])).stderr, '');
    assert.match((await execCli(broker.address, [...update, '0'])).stderr, hint);
  });
});

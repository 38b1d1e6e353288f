import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type SluiceClient } from '@sluice/client';
import { minuteMs } from '../../src/base/units.js';
import { useBroker, withoutSettings } from '../support/broker-process.js';
import { execCli, spawnCli } from '../support/cli-process.js';
import { TestConsumer, toDuration } from '../support/consumer.js';
import { publish, texts } from '../support/producer.js';
import { cliPath, distDirectory } from '../support/repository.js';

describe('sluice subscribe and the reader of its output', function () {
  this.timeout(2 * minuteMs);
  const broker = useBroker();
  let client: SluiceClient;
  let directory: string;
  before(() => {
    client = connect(broker.address);
    directory = mkdtempSync(join(tmpdir(), 'sluice-cli-'));
  });
  after(() => {
    client.close();
    rmSync(directory, { recursive: true });
  });

  /** A subscription `s` that gives a message up after two attempts. */
  async function create(topic: string, messages: readonly string[], ackDeadlineMs = 30_000): Promise<void> {
    await client.admin.createSubscription({
      subscription: {
        topic,
        name: 's',
        ackDeadline: toDuration(ackDeadlineMs),
        deadLetter: { maxAttempts: 2 },
      },
    });
    await publish(client, topic, messages);
  }

  async function standing(topic: string): Promise<{ backlog: number; deadLetters: number }> {
    const { subscription } = await client.admin.getSubscription({ topic, name: 's' });
    const [partition] = subscription?.partitions ?? [];
    return {
      backlog: Number(partition?.backlogMessageCount),
      deadLetters: Number(partition?.deadLetterCount),
    };
  }

  /** The attempts with which the messages are delivered next. */
  async function nextAttempts(topic: string, count: number): Promise<Set<number>> {
    const consumer = await TestConsumer.open(client, { topic, subscription: 's', maxMessages: count });
    const attempts = new Set((await consumer.take(count)).map(({ attempt }) => attempt));
    await consumer.leave();
    return attempts;
  }

  /** Runs a line of the shell, with `sluice` in it. */
  function shell(line: string): Promise<{ stdout: string; stderr: string }> {
    const sluice = `"${process.execPath}" "${join(distDirectory, cliPath)}"`;
    const env = { ...withoutSettings(process.env), SLUICE_SERVER: broker.address };
    return new Promise((resolve, reject) => {
      execFile('bash', ['-c', line.replaceAll('sluice ', `${sluice} `)], { env }, (error, stdout, stderr) =>
        error === null ? resolve({ stdout, stderr }) : reject(error),
      );
    });
  }

  it('counts no attempt for a look, however many there are', async () => {
    await create('looked', texts('m', 3));
    for (let look = 0; look < 4; look++) {
      const { stdout, stderr } = await execCli(broker.address, [
        ...['subscribe', 'looked', 's', '--no-ack', '--limit', '1'],
      ]);
      assert.equal(stdout.toString(), 'm-0\n', stderr);
    }
    assert.deepEqual(await standing('looked'), { backlog: 3, deadLetters: 0 });
    assert.deepEqual(await nextAttempts('looked', 3), new Set([1]));
  });

  it('counts no attempt for a look that takes longer than a lease', async () => {
    await create('watched', texts('m', 3), 2_000);
    const { stdout, stderr } = await execCli(broker.address, [
      ...['subscribe', 'watched', 's', '--no-ack', '--exit-when-idle', '5s'],
    ]);
    assert.equal(stdout.toString(), 'm-0\nm-1\nm-2\n', stderr);
    assert.equal(stderr, 'printed 3 messages\n');
    assert.deepEqual(await nextAttempts('watched', 3), new Set([1]));
  });

  it('counts no attempt for what was on its way when it is interrupted', async () => {
    await create('interrupted', texts('m', 3));
    const looking = spawnCli(broker.address, ['subscribe', 'interrupted', 's', '--no-ack']);
    await new Promise((resolve) => looking.child.stdout?.once('data', resolve));
    looking.child.kill('SIGINT');
    assert.equal((await looking.exited).exitCode, 130);
    assert.deepEqual(await nextAttempts('interrupted', 3), new Set([1]));
  });

  it('acknowledges nothing that a reader which ended early has left', async () => {
    await create('headed', texts('m', 1_000));
    const { stdout } = await shell('sluice subscribe headed s | head -3');
    assert.equal(stdout.split('\n').length, 4);
    assert.equal((await standing('headed')).backlog, 1_000);
    const rest = await execCli(broker.address, ['subscribe', 'headed', 's', '--until-caught-up']);
    assert.deepEqual(rest.stdout.toString().trimEnd().split('\n'), texts('m', 1_000));
    assert.deepEqual(await standing('headed'), { backlog: 0, deadLetters: 0 });
  });

  it('acknowledges nothing for a reader at the other end of sockets that ended early', async () => {
    await create('closed', texts('m', 1_000));
    const { child, exited } = spawnCli(broker.address, ['subscribe', 'closed', 's']);
    child.stdout?.once('data', () => child.stdout?.destroy());
    assert.deepEqual([(await exited).exitCode, (await exited).stderr], [0, '']);
    assert.equal((await standing('closed')).backlog, 1_000);
    assert.deepEqual(await nextAttempts('closed', 1_000), new Set([1]));
  });

  it('acknowledges everything for a reader of a pipe that takes everything, byte for byte', async () => {
    const messages = texts('message', 20_000);
    await create('piped', messages);
    const file = join(directory, 'piped');
    const { stderr } = await shell(`sluice subscribe piped s --until-caught-up | cat > ${file}`);
    assert.equal(stderr, 'printed and acknowledged 20,000 messages\n');
    assert.equal(readFileSync(file, 'utf8'), `${messages.join('\n')}\n`);
    assert.deepEqual(await standing('piped'), { backlog: 0, deadLetters: 0 });
  });

  it('takes no more than its limit through a pipe, and acknowledges that', async () => {
    await create('limited', texts('m', 100));
    const { stdout } = await shell('sluice subscribe limited s --limit 7 --max-outstanding 2 | cat');
    assert.equal(stdout, `${texts('m', 7).join('\n')}\n`);
    assert.equal((await standing('limited')).backlog, 93);
    assert.deepEqual(await nextAttempts('limited', 93), new Set([1]));
  });
});

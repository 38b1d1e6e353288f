import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { connect } from '@sluice/client';
import { Producer_HoldReason as HoldReason, BacklogLimit_WhenFull as WhenFull } from '@sluice/client/api';
import { createRandom } from '../../src/base/random.js';
import { minuteMs, secondMs } from '../../src/base/units.js';
import { useBroker } from '../support/broker-process.js';
import { execCli, spawnCli } from '../support/cli-process.js';
import { ack, deadLetter, TestConsumer } from '../support/consumer.js';
import { publish } from '../support/producer.js';
import { createLimitedTopic } from '../support/topics.js';

/** Lines of any text, some empty, some ending in a carriage return, some that are no UTF-8; the last not ended. */
function makeCorpus(lineCount: number): Buffer {
  const random = createRandom(7);
  const letters = [...'abcdefghijklmnopqrstuvwxyzäöüßéñ漢字🙂'].map((letter) => Buffer.from(letter));
  const pick = (count: number) => Math.floor(random.next() * count);
  const parts: Uint8Array[] = [];
  for (let line = 1; line <= lineCount; line++) {
    for (let left = pick(15); left > 0; left--) parts.push(letters[pick(letters.length)]!);
    if (line % 11 === 0) parts.push(Uint8Array.of(0xff, 0x00, 0xc3));
    if (line % 7 === 0) parts.push(Buffer.from('\r'));
    if (line < lineCount) parts.push(Buffer.from('\n'));
  }
  parts.push(Buffer.from('the last line'));
  return Buffer.concat(parts);
}

interface Printed {
  readonly partition: number;
  readonly offset: number;
  readonly key?: string;
  readonly payload?: string;
  readonly payloadBase64?: string;
}

function parseMessages(stdout: Buffer): Printed[] {
  return stdout
    .toString()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Printed);
}

/** The offsets of each partition go up. */
function assertAscending(messages: readonly Printed[]): void {
  const lastOffsets = new Map<number, number>();
  for (const { partition, offset } of messages) {
    assert(offset > (lastOffsets.get(partition) ?? -1), `partition ${partition} goes back at ${offset}`);
    lastOffsets.set(partition, offset);
  }
}

/** Every byte as one character, so that any bytes can be compared and sorted as text. */
function payloadOf({ payload, payloadBase64 }: Printed): string {
  const bytes = payload === undefined ? Buffer.from(payloadBase64 ?? '', 'base64') : Buffer.from(payload);
  return bytes.toString('latin1');
}

describe('the command line and a broker', function () {
  this.timeout(2 * minuteMs);
  this.slow(30 * secondMs);
  const broker = useBroker();
  const cli = (argv: readonly string[], stdin?: string) => execCli(broker.address, argv, stdin);
  let directory: string;

  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'sluice-cli-'));
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  it('brings every line of a corpus to three consumers, exactly once and in order of its key', async () => {
    const lineCount = 100_000;
    const corpus = makeCorpus(lineCount);
    const file = join(directory, 'corpus');
    writeFileSync(file, corpus);
    const created = await cli(['topic', 'create', 'corpus', '--partitions', '8']);
    assert.equal(created.exitCode, 0, created.stderr);

    const consuming = ['subscribe', 'corpus', 'count', '--json'];
    const consumers = [1, 2, 3].map(() => spawnCli(broker.address, consuming));
    const publishing = ['publish', 'corpus', '--file', file, '--key-prefix-length', '1', '--json'];
    const published = await cli(publishing);
    assert.equal(published.exitCode, 0, published.stderr);
    assert.equal(JSON.parse(published.stdout.toString()).messageCount, lineCount);

    // It joins them, and ends once all that they have is settled.
    const last = await cli([...consuming, '--until-caught-up']);
    assert.equal(last.exitCode, 0, last.stderr);
    for (const { child } of consumers) child.kill('SIGINT');
    const exits = await Promise.all(consumers.map(({ exited }) => exited));
    for (const { exitCode, stderr } of exits) assert.equal(exitCode, 130, stderr);

    const received = [last, ...exits].map(({ stdout }) => parseMessages(stdout));
    for (const messages of received) assertAscending(messages);
    const lines = corpus.toString('latin1').split('\n');
    assert.equal(lines.length, lineCount);
    assert.deepEqual(received.flat().map(payloadOf).toSorted(), lines.toSorted());

    // One key, one partition; and within a partition the lines stand in the order of the file.
    const partitions = new Map<string, number>();
    for (const { key, partition } of received.flat()) {
      if (key === undefined) continue;
      assert.equal(partitions.get(key) ?? partition, partition, `key ${key} is in two partitions`);
      partitions.set(key, partition);
    }
    assert(new Set(partitions.values()).size > 1);
    const afterwards = await cli(['subscribe', 'corpus', 'count', '--until-caught-up']);
    assert.equal(afterwards.stdout.length, 0, 'something was delivered twice');
  });

  it('gives back a file byte for byte', async () => {
    const corpus = makeCorpus(5_000);
    const file = join(directory, 'small');
    writeFileSync(file, corpus);
    await cli(['publish', 'copy', '--file', file]);
    const { exitCode, stdout } = await cli(['read', 'copy']);
    assert.equal(exitCode, 0);
    assert(stdout.equals(Buffer.concat([corpus, Buffer.from('\n')])));
  });

  it('goes on where a producer stopped, and stores nothing twice', async () => {
    const publishing = ['publish', 'resumed', '--producer-id', 'p', '--json'];
    await cli(publishing, '1\n2\n3\n');
    const resumed = await cli([...publishing, '--resume'], '1\n2\n3\n4\n5\n');
    assert.equal(JSON.parse(resumed.stdout.toString()).skippedCount, 3);
    assert.equal((await cli(['read', 'resumed'])).stdout.toString(), '1\n2\n3\n4\n5\n');
  });

  it('takes no line for one that a producer has stored, unless it is told to', async () => {
    const publishing = ['publish', 'reused', '--producer-id', 'p'];
    await cli(publishing, '1\n2\n3\n');
    const other = await cli(publishing, 'a\nb\nc\nd\n');
    assert.equal(other.exitCode, 2);
    assert.match(other.stderr, /producer p has stored 3 lines in reused: --resume skips the first 3 lines/);
    assert.equal((await cli(['read', 'reused'])).stdout.toString(), '1\n2\n3\n');
    const client = connect(broker.address);
    const { epoch } = await client.broker.getProducer({ topic: 'reused', producerId: 'p' });
    client.close();
    assert.equal(epoch, 1n, 'the refused run has claimed nothing');
    const shorter = await cli([...publishing, '--resume'], 'a\n');
    assert.equal(shorter.exitCode, 1);
    assert.match(shorter.stderr, /producer p has stored 3 lines, and the input has 1/);
    const same = await cli([...publishing, '--resume'], '1\n2\n3\n4\n');
    assert.equal(same.exitCode, 0);
    assert.equal((await cli(['read', 'reused'])).stdout.toString(), '1\n2\n3\n4\n');
  });

  it('lets runs of one producer fence each other, and says which lines are missing', async () => {
    const publishing = ['publish', 'fenced', '--producer-id', 'p', '--batch-size', '1'];
    const first = spawnCli(broker.address, publishing);
    first.child.stdin?.write('1\n');
    const client = connect(broker.address);
    const isStored = async () =>
      client.broker.getProducer({ topic: 'fenced', producerId: 'p' }).then(
        ({ lastSequence }) => lastSequence === 1n,
        () => false,
      );
    while (!(await isStored())) await setTimeout(20);
    client.close();
    const second = await cli([...publishing, '--resume', '--json'], '1\n2\n');
    assert.equal(JSON.parse(second.stdout.toString()).messageCount, 1, second.stderr);
    first.child.stdin?.end('other\n');
    const { exitCode, stderr } = await first.exited;
    assert.equal(exitCode, 1);
    assert.match(stderr, /epoch 1 of producer "p" is over: .*epoch 2 \(PRODUCER_FENCED\)/);
    assert.match(stderr, /refused, and not stored: line 2/);
    assert.equal((await cli(['read', 'fenced'])).stdout.toString(), '1\n2\n');
  });

  it('ends quietly when its output has no reader', async () => {
    const lines = Array.from({ length: 50_000 }, (_, i) => `a line of some length with the number ${i}\n`);
    await cli(['publish', 'piped'], lines.join(''));
    const { child, exited } = spawnCli(broker.address, ['subscribe', 'piped', 'head']);
    await once(child.stdout!, 'data');
    child.stdout!.destroy();
    const { exitCode, stderr } = await exited;
    assert.equal(stderr, '');
    assert.equal(exitCode, 0);
    const rest = await cli(['subscribe', 'piped', 'head', '--until-caught-up']);
    assert(rest.stdout.toString().endsWith(lines.at(-1)!), 'what was not printed is lost');
  });

  it('ends with 130 when it is interrupted, with everything printed acknowledged', async () => {
    await cli(['publish', 'endless'], 'a\nb\nc\n');
    const { child, exited } = spawnCli(broker.address, ['subscribe', 'endless', 'watch']);
    await once(child.stdout!, 'data');
    child.kill('SIGINT');
    const { exitCode, stdout } = await exited;
    assert.equal(exitCode, 130);
    assert.equal(stdout.toString(), 'a\nb\nc\n');
    const rest = await cli(['subscribe', 'endless', 'watch', '--until-caught-up']);
    assert.equal(rest.stdout.length, 0);
  });

  it('ends when it is interrupted, also where the reader of its output has stopped reading', async () => {
    const lines = Array.from({ length: 50_000 }, (_, i) => `a line of some length with the number ${i}\n`);
    await cli(['publish', 'unread'], lines.join(''));
    const { child, exited } = spawnCli(broker.address, ['subscribe', 'unread', 'stuck']);
    await once(child.stdout!, 'data');
    child.stdout!.pause();
    const client = connect(broker.address);
    for (;;) {
      // Nothing goes to the command any more for as long as that: the pipe to its reader is full.
      const { consumers } = await client.admin.listConsumers({ topic: 'unread' });
      if (consumers.some(({ waitTime }) => (waitTime?.seconds ?? 0n) >= 1n)) break;
    }
    client.close();
    child.kill('SIGTERM');
    await once(child, 'exit');
    child.stdout!.resume();
    const { exitCode, stderr } = await exited;
    assert.equal(exitCode, 130);
    assert.match(stderr, /interrupted, and the command did not end in time/);
  });

  it('ends when it is interrupted while the broker holds what it publishes', async () => {
    const client = connect(broker.address);
    await createLimitedTopic(client, { name: 'full', maxMessages: 5, whenFull: WhenFull.BLOCK }, 's');
    for (const args of [[], ['--producer-id', 'p']]) {
      const { child, exited } = spawnCli(broker.address, ['publish', 'full', '--batch-size', '10', ...args]);
      child.stdin!.write('line\n'.repeat(50_000));
      for (;;) {
        const { producers } = await client.admin.listProducers({ topic: 'full' });
        // The stream of the run before may still be listed.
        const own = producers.find(({ producerId }) => producerId === (args[1] ?? ''));
        if (own?.holdReason === HoldReason.BACKLOG) break;
      }
      child.kill('SIGTERM');
      const { exitCode, stderr } = await exited;
      assert.equal(exitCode, 130);
      assert.match(stderr, /interrupted, and the broker did not answer/);
      assert.match(stderr, /not known to be stored: lines/);
    }
    client.close();
  });

  it('says why the broker holds what it publishes, and that it goes on', async () => {
    const client = connect(broker.address);
    await createLimitedTopic(client, { name: 'held', maxMessages: 5, whenFull: WhenFull.BLOCK }, 's');
    for (const args of [[], ['--producer-id', 'p']]) {
      const { child, exited } = spawnCli(broker.address, [
        'publish',
        'held',
        '--json',
        '--batch-size',
        '5',
        ...args,
      ]);
      child.stdin!.end('line\n'.repeat(10));
      // The only word before the end: the first batch is stored, and the second one is held.
      const [line] = await once(child.stderr!, 'data');
      assert.match(
        line.toString(),
        /^sluice: waiting: the backlog of held is full; .* \(`sluice subscription list held` shows which one that is\)\n$/,
      );
      const consumer = await TestConsumer.open(client, { topic: 'held', subscription: 's' });
      for (let left = 10; left > 0; left -= 5) await consumer.settle(await consumer.take(5), ack);
      consumer.close();
      const { exitCode, stdout, stderr } = await exited;
      assert.equal(exitCode, 0);
      assert.equal(JSON.parse(stdout.toString()).messageCount, 10);
      assert.match(stderr, /^sluice: waiting: .*\nsluice: continuing after \d+ s\n$/);
    }
    client.close();
  });

  it('sends dead letters back, dry first, and says how many remain', async () => {
    const client = connect(broker.address);
    await publish(client, 'parcels', ['1', '2', '3']);
    const consumer = await TestConsumer.open(client, { topic: 'parcels', subscription: 'sorting' });
    await consumer.settle(await consumer.take(3), deadLetter('no address'));
    const redrive = async (...args: string[]) => {
      const { exitCode, stdout, stderr } = await cli(['redrive', 'parcels', 'sorting', ...args]);
      assert.equal(exitCode, 0, stderr);
      return stdout.toString();
    };
    assert.equal(await redrive('--dry-run'), '3 dead letters would be sent back, 0 remain\n');
    assert.deepEqual(JSON.parse(await redrive('--limit', '1', '--rate', '1000', '--json')), {
      topic: 'parcels',
      subscription: 'sorting',
      dryRun: false,
      redrivenCount: 1,
      remainingCount: 2,
    });
    assert.equal(await redrive(), '2 dead letters sent back, 0 remain\n');
    assert.deepEqual(await consumer.takeTexts(3), ['1', '2', '3']);
    consumer.close();
    client.close();
    const unknown = await cli(['redrive', 'parcels', 'absent']);
    assert.deepEqual([unknown.exitCode, unknown.stdout.length], [1, 0]);
    assert.match(unknown.stderr, /SUBSCRIPTION_NOT_FOUND/);
  });

  it('creates, changes, shows and deletes topics and subscriptions', async () => {
    const json = async (line: string) => {
      const { exitCode, stdout, stderr } = await cli([...line.split(' '), '--json']);
      assert.equal(exitCode, 0, stderr);
      return JSON.parse(stdout.toString());
    };
    await json(
      'topic create jobs --partitions 2 --durability written --retention-age 7d --backlog-messages 9',
    );
    const topic = await json('topic update jobs --partitions 4 --retention-bytes 1GiB');
    assert.equal(topic.partitionCount, 4);
    assert.deepEqual(topic.retention, { maxAge: '604800s', maxBytes: '1073741824' });
    assert.equal(topic.backlogLimit.maxMessages, '9');
    assert.equal(topic.durability, 'DURABILITY_WRITTEN');

    await json('subscription create jobs work --ordering partition --start latest');
    const changed = await json('subscription update jobs work --ack-deadline 2m --max-attempts 3');
    assert.equal(changed.ackDeadline, '120s');
    assert.equal(changed.deadLetter.maxAttempts, 3);
    await cli(['publish', 'jobs', '--partition', '1'], 'one\ntwo\n');
    const sought = await json('subscription seek jobs work offset:1 --partition 1');
    assert.equal(sought.partitions[1].acknowledgedOffset, '1');
    assert.match((await cli(['topic', 'list'])).stdout.toString(), /^jobs +4 +2 /m);
    assert.match(
      (await cli(['subscription', 'list', 'jobs'])).stdout.toString(),
      /^jobs +work +partition +1 /m,
    );
    assert.match(
      (await cli(['message', 'get', 'jobs', '1', '1'])).stdout.toString(),
      /"payload":"two".*\n+.*\nwork +pending/,
    );

    await cli(['subscription', 'delete', 'jobs', 'work']);
    await cli(['topic', 'delete', 'jobs']);
    const gone = await cli(['topic', 'get', 'jobs']);
    assert.equal(gone.exitCode, 1);
    assert.match(gone.stderr, /^sluice: .*"jobs".* \(TOPIC_NOT_FOUND\)\n {2}list the topics/);
  });
});

import assert from 'node:assert/strict';
import { connect, type SluiceClient, SluiceError } from '@sluice/client';
import { MessageStatus_State as State } from '@sluice/client/api';
import { useBroker } from '../../support/broker-process.js';
import { execCli } from '../../support/cli-process.js';
import { ack, deadLetter, nack, TestConsumer, toDuration } from '../../support/consumer.js';
import { publish, texts } from '../../support/producer.js';

describe('a message that retention has removed', () => {
  const broker = useBroker();
  let client: SluiceClient;
  before(() => {
    client = connect(broker.address);
  });
  after(() => client.close());

  const untilFirstOffset = async (topic: string, offset: bigint) => {
    for (;;) {
      const { topic: found } = await client.admin.getTopic({ name: topic });
      if (found?.partitions[0]?.firstOffset === offset) return;
    }
  };

  const statusesOf = async (topic: string, offset: bigint) => {
    const { run, statuses } = await client.admin.getMessage({ topic, partition: 0, offset });
    assert.equal(run, undefined);
    return statuses.map(({ subscription, state, failedAttempts }) => [subscription, state, failedAttempts]);
  };

  const reasonOf = async (topic: string, partition: number, offset: bigint) => {
    const error = await client.admin.getMessage({ topic, partition, offset }).catch((thrown) => thrown);
    assert.ok(error instanceof SluiceError, String(error));
    return error.reason;
  };

  it('is still known to be done or failed, also after a kill', async () => {
    await client.admin.createTopic({ topic: { name: 'queue', retention: { untilAcknowledged: true } } });
    for (const name of ['a', 'b']) {
      const retry = { minBackoff: toDuration(1), maxBackoff: toDuration(1) };
      const deadLetterPolicy = { maxAttempts: 2 };
      await client.admin.createSubscription({
        subscription: { topic: 'queue', name, retry, deadLetter: deadLetterPolicy },
      });
    }
    await publish(client, 'queue', texts('m', 3));
    const a = await TestConsumer.open(client, { topic: 'queue', subscription: 'a', maxMessages: 3 });
    await a.settle(await a.take(3), ack);
    const b = await TestConsumer.open(client, { topic: 'queue', subscription: 'b', maxMessages: 1 });
    await b.settle(await b.take(1), ack);
    await b.settle(await b.take(1), nack());
    await b.settle(await b.take(1), nack());
    await b.settle(await b.take(1), deadLetter('broken'));
    await untilFirstOffset('queue', 3n);
    const expected = [
      [
        ['a', State.DONE, 0],
        ['b', State.DONE, 0],
      ],
      [
        ['a', State.DONE, 0],
        ['b', State.FAILED, 2],
      ],
      [
        ['a', State.DONE, 0],
        ['b', State.FAILED, 1],
      ],
    ];
    const found = () => Promise.all([0n, 1n, 2n].map((offset) => statusesOf('queue', offset)));
    assert.deepEqual(await found(), expected);
    assert.equal(await reasonOf('queue', 0, 3n), 'MESSAGE_NOT_FOUND', 'there never was one');
    assert.equal(await reasonOf('queue', 1, 0n), 'UNKNOWN_PARTITION');
    await broker.restart();
    client.close();
    client = connect(broker.address);
    assert.deepEqual(await found(), expected);
    const shown = await execCli(broker.address, ['message', 'get', 'queue', '0', '1']);
    assert.equal(shown.exitCode, 0, shown.stderr);
    const lines = shown.stdout.toString().split('\n');
    assert.equal(lines[0], 'retention has removed message 1 of partition 0 of queue');
    assert.match(shown.stdout.toString(), /^a +done +0 +-$/m);
    assert.match(shown.stdout.toString(), /^b +failed +2 +-$/m);
  });

  it('is known to be gone where there is no subscription', async () => {
    await client.admin.createTopic({ topic: { name: 'log', retention: { maxBytes: 25_000n } } });
    for (const text of ['one', 'two', 'three']) await publish(client, 'log', [text.padEnd(10_000)]);
    await untilFirstOffset('log', 1n);
    assert.deepEqual(await statusesOf('log', 0n), []);
    assert.equal((await client.admin.getMessage({ topic: 'log', offset: 1n })).run?.messages.length, 1);
    assert.equal(await reasonOf('log', 0, 3n), 'MESSAGE_NOT_FOUND');
  });
});

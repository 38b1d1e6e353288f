import assert from 'node:assert/strict';
import { connect, type SluiceClient } from '@sluice/client';
import { readCases } from '../../clients/typescript/interop/cases.js';
import { systemClock } from '../../src/base/clock.js';
import { BrokerProcess, showLogOnFailure } from '../support/broker-process.js';
import { builtOrSkipped, type ClientLanguage, clientLanguages } from '../support/client-languages.js';
import { freePort } from '../support/free-port.js';
import { runInterop } from '../support/interop-program.js';
import { storedCount } from '../support/topics.js';

const pairLimitMs = 180_000;
/**
 * 300,000 messages to four consumers through four restarts are 30 s of work for an idle machine, and a multiple of that
 * for a busy one: the limit is for programs that hang.
 */
const killsLimitMs = 900_000;

describe('interop: every producer against every consumer', () => {
  let broker: BrokerProcess;
  let client: SluiceClient;
  before(async () => {
    // Where it was before a restart, it is to be found again.
    broker = await BrokerProcess.start({ args: ['--listen', `127.0.0.1:${await freePort()}`] });
    client = connect(broker.address);
  });
  showLogOnFailure(() => broker);
  after(async () => {
    client?.close();
    await broker?.dispose();
  });

  async function createTopic(name: string, partitionCount: number): Promise<void> {
    await client.admin.createTopic({ topic: { name, partitionCount } });
    for (const { name: consumer } of clientLanguages) {
      await client.admin.createSubscription({ subscription: { topic: name, name: consumer } });
    }
  }

  const limits = (name: string) => ['--timeout', (name === 'kills' ? killsLimitMs : pairLimitMs) / 1000];

  const produce = (language: ClientLanguage, topic: string, name: string) =>
    runInterop(
      language,
      'produce',
      '--server',
      broker.address,
      '--topic',
      topic,
      '--case',
      name,
      ...limits(name),
    );

  /** The program itself holds what it gets against the case, and fails where that differs. */
  async function consume(language: ClientLanguage, topic: string, name: string, count: number) {
    const where = ['--server', broker.address, '--topic', topic, '--subscription', language.name];
    const { received, problems } = await runInterop(
      language,
      'consume',
      ...where,
      '--case',
      name,
      ...limits(name),
    );
    assert.deepEqual(problems, []);
    assert.equal(received, count);
  }

  /** Waits until so many messages are stored; throws the failure of a program as soon as there is one. */
  async function untilStored(count: number, topic: string, failure: () => unknown): Promise<void> {
    while ((await storedCount(client, topic)) < count) {
      if (failure() !== undefined) throw failure();
      await new Promise<void>((resolve) => systemClock.after(20, resolve));
    }
  }

  for (const producer of clientLanguages) {
    describe(`from ${producer.name}`, () => {
      before(async function () {
        await builtOrSkipped(producer, this);
      });

      for (const { name, partitionCount, messages } of readCases().filter((each) => each.name !== 'kills')) {
        const topic = `${name}-${producer.name}`;
        it(`"${name}" is stored, each message where its receipt says`, async () => {
          await createTopic(topic, partitionCount);
          const { sent, receipts } = await produce(producer, topic, name);
          assert.equal(sent, messages.length);
          assert.deepEqual(
            await payloadsAt(client, topic, receipts),
            messages.map(({ payload }) => payload),
          );
        }).timeout(pairLimitMs);

        for (const consumer of clientLanguages) {
          it(`"${name}" to ${consumer.name}`, async function () {
            await builtOrSkipped(consumer, this);
            this.timeout(pairLimitMs);
            await consume(consumer, topic, name, messages.length);
          });
        }
      }

      it('to all, through a broker that is killed again and again: nothing lost, nothing twice in the log', async function () {
        for (const consumer of clientLanguages) await builtOrSkipped(consumer, this);
        this.timeout(killsLimitMs);
        this.slow(pairLimitMs);
        const { partitionCount, messages } = readCases().find(({ name }) => name === 'kills')!;
        const topic = `kills-${producer.name}`;
        await createTopic(topic, partitionCount);
        const producing = produce(producer, topic, 'kills');
        const consuming = clientLanguages.map((consumer) =>
          consume(consumer, topic, 'kills', messages.length),
        );
        const all = Promise.all([producing, ...consuming]);
        // A program that fails meanwhile is reported at the end, or ends the wait.
        let failure: unknown;
        all.catch((error: unknown) => {
          failure = error;
        });
        for (const share of [0.1, 0.3, 0.5, 0.7]) {
          await untilStored(share * messages.length, topic, () => failure);
          client.close();
          await broker.restart();
          client = connect(broker.address);
        }
        await all;
        const payloads = await storedPayloads(client, topic);
        const count = payloads.length;
        const found = new Set(payloads);
        assert.equal(count, messages.length, 'the log has more or fewer messages than were sent');
        assert.equal(found.size, messages.length, 'a message is in the log twice');
      });
    });
  }
});

/** What the log has at these places, `[partition, offset]`. */
async function payloadsAt(client: SluiceClient, topic: string, receipts: unknown): Promise<Buffer[]> {
  const stored = new Map<string, Buffer>();
  for await (const { runs } of client.broker.read({ topic })) {
    for (const { partition, firstOffset, messages } of runs) {
      for (const [i, { payload }] of messages.entries()) {
        stored.set(`${partition},${firstOffset + BigInt(i)}`, Buffer.from(payload));
      }
    }
  }
  return (receipts as [number, number][]).map((place) => {
    const payload = stored.get(String(place));
    assert(payload !== undefined, `there is no message at ${place}`);
    return payload;
  });
}

/** Everything that the log of a topic has. */
async function storedPayloads(client: SluiceClient, topic: string): Promise<string[]> {
  const payloads: string[] = [];
  for await (const { runs } of client.broker.read({ topic })) {
    for (const { messages } of runs) {
      payloads.push(...messages.map(({ payload }) => Buffer.from(payload).toString()));
    }
  }
  return payloads;
}

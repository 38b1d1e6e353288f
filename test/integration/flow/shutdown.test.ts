import assert from 'node:assert/strict';
import { connect, type SluiceClient } from '@sluice/client';
import { Consumer_WaitReason as WaitReason, BacklogLimit_WhenFull as WhenFull } from '@sluice/client/api';
import { limits } from '../../../src/base/limits.js';
import { StatusCode } from '../../../src/base/reasons.js';
import { KiB } from '../../../src/base/units.js';
import { BrokerProcess, showLogOnFailure } from '../../support/broker-process.js';
import { PressingProducer, untilHeld } from '../../support/pressing-producer.js';
import { RawConnection } from '../../support/raw-grpc.js';
import { StalledConsumer } from '../../support/stalled-consumer.js';
import { createLimitedTopic, storedCount } from '../../support/topics.js';

/** Milliseconds from one line of the log to another, by the broker's own clock. */
function loggedMs(broker: BrokerProcess, from: string, to: string): number {
  const timeOf = (message: string): number => {
    for (const line of broker.logLines) {
      const entry = JSON.parse(line) as { message: string; time: string };
      if (entry.message === message) return new Date(entry.time).getTime();
    }
    return assert.fail(`"${message}" was not logged`);
  };
  return timeOf(to) - timeOf(from);
}

describe('a broker that is asked to end', function () {
  this.timeout(60_000);
  let broker: BrokerProcess;
  let client: SluiceClient;
  let connection: RawConnection;
  beforeEach(async () => {
    broker = await BrokerProcess.start();
    client = connect(broker.address);
    connection = await RawConnection.connect(broker.address, { streamWindowBytes: 64 * KiB });
  });
  showLogOnFailure(() => broker);
  afterEach(async () => {
    connection.destroy();
    client.close();
    await broker.dispose();
  });

  it('refuses what a full backlog holds with DRAINING at once, and keeps what it has acknowledged', async () => {
    await createLimitedTopic(client, { name: 't', maxMessages: 5, whenFull: WhenFull.BLOCK }, 's');
    const producers = Array.from({ length: 3 }, () => {
      return new PressingProducer(connection, { topic: 't', requestBytes: 16 * KiB });
    });
    await untilHeld(producers, () => client.admin.getServerInfo({}));
    const stopped = broker.stop();
    for (const producer of producers) {
      const status = await producer.ended;
      assert.deepEqual([status.code, status.reason], [StatusCode.UNAVAILABLE, 'DRAINING']);
      assert.deepEqual(producer.refusals, ['DRAINING'], 'the batch that was held');
    }
    assert.deepEqual(await stopped, { code: 0, signal: null });
    assert(loggedMs(broker, 'draining', 'ended') < limits.drainGraceMs / 2);
    const receiptedCount = producers.reduce((sum, producer) => sum + producer.receiptedCount, 0);
    client.close();
    await broker.start();
    client = connect(broker.address);
    assert.equal(await storedCount(client, 't'), receiptedCount);
  });

  it('waits neither for idle clients nor for one that does not read', async () => {
    await client.admin.getServerInfo({});
    const producer = new PressingProducer(connection, {
      topic: 't',
      requestBytes: 256 * KiB,
      requestCount: 20,
    });
    while (producer.receiptedCount < 20) await client.admin.getServerInfo({});
    new StalledConsumer(connection, { topic: 't', subscription: 's', maxMessages: 100, maxBytes: 2 ** 30 });
    for (;;) {
      const { consumers } = await client.admin.listConsumers({ topic: 't' });
      if (consumers[0]?.waitReason === WaitReason.TRANSPORT) break;
    }
    assert.deepEqual(await broker.stop(), { code: 0, signal: null });
    assert(loggedMs(broker, 'draining', 'ended') < limits.drainGraceMs / 2);
  });
});

import assert from 'node:assert/strict';
import { connect, type SluiceClient } from '@sluice/client';
import { Producer_HoldReason as HoldReason } from '@sluice/client/api';
import { KiB, MiB } from '../../../src/base/units.js';
import { BrokerProcess, showLogOnFailure } from '../../support/broker-process.js';
import { TestConsumer } from '../../support/consumer.js';
import { PressingProducer, untilHeld, untilTrue } from '../../support/pressing-producer.js';
import { RawConnection } from '../../support/raw-grpc.js';
import { SlowDisk, untilReleased } from '../../support/slow-disk.js';
import { storedCount } from '../../support/topics.js';

const requestBytes = 64 * KiB;
const windowBytes = 256 * KiB;
const queueBytes = 2 * MiB;
const producerCount = 8;
/** Where each producer's next request was let in at the same moment, the last of them to find room. */
const mostTakenBytes = queueBytes + producerCount * (windowBytes + 2 * requestBytes) + 64 * KiB;

describe('a slow disk', function () {
  this.timeout(120_000);
  let disk: SlowDisk | undefined;
  let broker: BrokerProcess | undefined;
  let client: SluiceClient;
  let connection: RawConnection;

  before(async function () {
    disk = SlowDisk.create();
    if (disk === undefined) {
      assert(process.env.CI !== 'true', 'there is no gcc: install it, so that slow disks are tested');
      this.skip();
    }
    broker = await BrokerProcess.start({
      env: disk.env,
      args: ['--writer-queue-bytes', `${queueBytes}`, '--stream-window-bytes', `${windowBytes}`],
    });
    client = connect(broker.address);
    connection = await RawConnection.connect(broker.address);
  });
  showLogOnFailure(() => broker);
  after(async () => {
    disk?.setDelayMs(0);
    connection?.destroy();
    client?.close();
    await broker?.dispose();
    disk?.dispose();
  });

  const roundTrip = () => client.admin.getServerInfo({});
  const sum = (producers: readonly PressingProducer[], count: 'takenCount' | 'receiptedCount') =>
    producers.reduce((total, producer) => total + producer[count], 0);
  const press = (topic: string) =>
    Array.from({ length: producerCount }, () => new PressingProducer(connection, { topic, requestBytes }));

  async function finishAndCount(topic: string, producers: readonly PressingProducer[]): Promise<void> {
    await Promise.all(producers.map((producer) => producer.finish()));
    for (const producer of producers) {
      assert.deepEqual(producer.refusals, []);
      assert.equal(producer.receiptedCount, producer.writtenCount, 'a batch has no receipt');
    }
    assert.equal(await storedCount(client, topic), sum(producers, 'receiptedCount'));
  }

  it('holds producers by its pace, and loses nothing', async () => {
    disk!.setDelayMs(50);
    const producers = press('slow');
    // Seen from here, what has been stored still waits while its receipt is on the way: one round, at most a queue.
    const mostBytes = mostTakenBytes + queueBytes;
    while (sum(producers, 'receiptedCount') < 200) {
      await roundTrip();
      const waitingBytes = (sum(producers, 'takenCount') - sum(producers, 'receiptedCount')) * requestBytes;
      assert(waitingBytes <= mostBytes, `${waitingBytes} bytes wait, more than ${mostBytes}`);
    }
    disk!.setDelayMs(0);
    await finishAndCount('slow', producers);
  });

  it('that stands still holds producers, not those who read what is stored, and all go on after it', async () => {
    const filler = new PressingProducer(connection, { topic: 'stored', requestBytes, requestCount: 200 });
    await untilTrue(() => filler.receiptedCount === 200, roundTrip);
    await filler.finish();
    const consumer = await TestConsumer.open(client, {
      topic: 'stored',
      subscription: 's',
      maxMessages: 0,
    });
    const rssBefore = broker!.rssBytes();

    const held = disk!.held();
    disk!.setDelayMs(untilReleased);
    const producers = press('stalled');
    await held;
    await untilHeld(producers, roundTrip);
    const listed = (await client.admin.listProducers({ topic: 'stalled' })).producers;
    assert.equal(listed.length, producerCount);
    for (const { holdReason } of listed) assert.equal(holdReason, HoldReason.WRITER);
    const receiptedCount = sum(producers, 'receiptedCount');
    const waitingBytes = (sum(producers, 'takenCount') - receiptedCount) * requestBytes;
    assert(waitingBytes <= mostTakenBytes, `${waitingBytes} bytes wait, more than ${mostTakenBytes}`);
    await consumer.setCredit({ messages: 1_000 });
    assert.equal((await consumer.take(200)).length, 200);
    assert.equal(sum(producers, 'receiptedCount'), receiptedCount, 'the disk did not stand still');
    const grownBytes = broker!.rssBytes() - rssBefore;
    assert(grownBytes < mostTakenBytes + 64 * MiB, `the broker has grown by ${grownBytes} bytes`);

    disk!.setDelayMs(0);
    await untilTrue(() => sum(producers, 'receiptedCount') > receiptedCount + 100, roundTrip);
    await finishAndCount('stalled', producers);
    consumer.close();
  });
});

import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect, type SluiceClient } from '@sluice/client';
import { Producer_HoldReason as HoldReason, BacklogLimit_WhenFull as WhenFull } from '@sluice/client/api';
import { limits } from '../../../src/base/limits.js';
import { KiB, MiB } from '../../../src/base/units.js';
import { BrokerProcess, showLogOnFailure } from '../../support/broker-process.js';
import { ack, TestConsumer } from '../../support/consumer.js';
import { PressingProducer, untilTrue } from '../../support/pressing-producer.js';
import { publish } from '../../support/producer.js';
import { RawConnection } from '../../support/raw-grpc.js';
import { SmallDisk } from '../../support/small-disk.js';
import { createLimitedTopic } from '../../support/topics.js';

const diskMiB = 300;
const reserveMiB = 64;
const requestBytes = 64 * KiB;
const producerCount = 8;

describe('a small disk', function () {
  this.timeout(120_000);
  let disk: SmallDisk | undefined;
  let broker: BrokerProcess | undefined;
  let client: SluiceClient;
  let connection: RawConnection;
  let producers: PressingProducer[] = [];
  let ballast: string;

  before(async function () {
    disk = SmallDisk.create(diskMiB);
    if (disk === undefined) {
      console.log(
        '      skipped: this process may not mount a file system (run the tests as root for these)',
      );
      this.skip();
    }
    ballast = join(disk.directory, 'ballast');
    broker = await BrokerProcess.start({
      dataDirectory: join(disk.directory, 'data'),
      args: ['--min-free-disk-bytes', `${reserveMiB * MiB}`],
    });
    await open();
  });
  showLogOnFailure(() => broker);
  after(async () => {
    connection?.destroy();
    client?.close();
    await broker?.dispose();
    disk?.dispose();
  });

  async function open(): Promise<void> {
    client = connect(broker!.address);
    connection = await RawConnection.connect(broker!.address);
  }
  const roundTrip = () => client.admin.getServerInfo({});
  const listed = async (topic: string) => (await client.admin.listProducers({ topic })).producers;

  async function takeAndSettle(subscription: string, count: number): Promise<void> {
    const consumer = await TestConsumer.open(client, { topic: 'filling', subscription, maxMessages: count });
    await consumer.until(() => consumer.inbox.length >= count);
    const messages = consumer.inbox.splice(0, count);
    const last = messages.at(-1)!.offset;
    const settled = await consumer.settleRanges([{ partition: 0, first: messages[0]!.offset, last }], ack);
    assert.equal(Number(settled.settledCount), count);
    consumer.close();
  }

  it('that fills at full speed keeps its reserve, and the broker serves', async () => {
    await createLimitedTopic(client, { name: 'filling', maxMessages: 0, whenFull: WhenFull.BLOCK }, 's');
    await createLimitedTopic(client, { name: 'refusing', maxMessages: 0, whenFull: WhenFull.REJECT }, 's');
    producers = Array.from(
      { length: producerCount },
      () => new PressingProducer(connection, { topic: 'filling', requestBytes }),
    );
    let leastFreeMiB = disk!.freeMiB;
    const isHeld = async () => {
      const all = await listed('filling');
      return all.length === producerCount && all.every(({ holdReason }) => holdReason === HoldReason.DISK);
    };
    while (!(await isHeld())) leastFreeMiB = Math.min(leastFreeMiB, disk!.freeMiB);
    const roundMiB = limits.roundBytes / MiB;
    assert(leastFreeMiB >= reserveMiB - roundMiB, `only ${leastFreeMiB} MiB were free, of ${reserveMiB}`);
    // Not at once, either: most of the disk is used.
    assert(leastFreeMiB < diskMiB / 2, `held although ${leastFreeMiB} MiB are free`);
    await takeAndSettle('s', 100);
    for (const producer of producers) assert.deepEqual(producer.refusals, []);
  });

  it('that is full when the broker starts: publishing is held or refused, reading and settling go on', async () => {
    for (const producer of producers) producer.cancel();
    connection.destroy();
    client.close();
    await broker!.stop();
    // An opening removes the log of the last run: only after one is what is free going to stay so.
    await broker!.start();
    await broker!.stop();
    const fillMiB = Math.floor(disk!.freeMiB - reserveMiB / 2);
    writeFileSync(ballast, Buffer.alloc(fillMiB * MiB, 1));
    await broker!.start();
    await open();

    await assert.rejects(publish(client, 'refusing', ['m']), { reason: 'DISK_NEARLY_FULL' });
    await assert.rejects(publish(client, 'made-now', ['m']), { reason: 'DISK_NEARLY_FULL' });
    const producer = new PressingProducer(connection, { topic: 'filling', requestBytes, requestCount: 20 });
    const holdReason = async () => (await listed('filling'))[0]?.holdReason;
    while ((await holdReason()) !== HoldReason.DISK);
    await takeAndSettle('s', 100);
    await takeAndSettle('made-on-a-full-disk', 100);
    assert.equal(producer.receiptedCount, 0);

    rmSync(ballast);
    await untilTrue(() => producer.receiptedCount === 20, roundTrip);
    await producer.finish();
    await publish(client, 'refusing', ['m']);
  });
});

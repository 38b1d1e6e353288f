import assert from 'node:assert/strict';
import { connect, type SluiceClient } from '@sluice/client';
import { Consumer_WaitReason as WaitReason, BacklogLimit_WhenFull as WhenFull } from '@sluice/client/api';
import { limits } from '../../../src/base/limits.js';
import { KiB, MiB } from '../../../src/base/units.js';
import { useBroker } from '../../support/broker-process.js';
import { ack, TestConsumer } from '../../support/consumer.js';
import { PressingProducer, untilHeld, untilTrue } from '../../support/pressing-producer.js';
import { RawConnection } from '../../support/raw-grpc.js';
import { StalledConsumer } from '../../support/stalled-consumer.js';
import { createLimitedTopic, storedCount } from '../../support/topics.js';

const streamCount = 200;
const connectionCount = 4;
const windowBytes = 64 * KiB;
const requestBytes = 16 * KiB;
const requestsEach = 20;
const tailBytes = 1 * MiB;
const unreadBytes = 1 * MiB;

describe(`${streamCount} held producers and ${streamCount} consumers that do not read, on ${connectionCount} connections`, function () {
  this.timeout(120_000);
  const broker = useBroker({
    args: ['--stream-window-bytes', `${windowBytes}`, '--tail-bytes', `${tailBytes}`],
  });
  let client: SluiceClient;
  let connections: RawConnection[] = [];
  let producers: PressingProducer[] = [];
  let consumers: StalledConsumer[] = [];
  before(async () => {
    client = connect(broker.address);
    connections = await Promise.all(
      Array.from({ length: connectionCount }, () =>
        RawConnection.connect(broker.address, { streamWindowBytes: windowBytes }),
      ),
    );
  });
  after(() => {
    for (const connection of connections) connection.destroy();
    client.close();
  });

  const roundTrip = () => client.admin.getServerInfo({});
  const each = <T>(make: (connection: RawConnection, i: number) => T): T[] =>
    Array.from({ length: streamCount }, (_, i) => make(connections[i % connectionCount]!, i));

  it('take what their windows and frames allow, and the memory of the broker stays within that', async () => {
    await createLimitedTopic(client, { name: 'held', maxMessages: 10, whenFull: WhenFull.BLOCK }, 's');
    const filler = new PressingProducer(connections[0]!, {
      topic: 'unread',
      requestBytes: 64 * KiB,
      requestCount: unreadBytes / (64 * KiB),
    });
    await untilTrue(() => filler.receiptedCount === unreadBytes / (64 * KiB), roundTrip);
    await filler.finish();
    const rssBefore = broker.rssBytes();

    producers = each((connection) => {
      return new PressingProducer(connection, { topic: 'held', requestBytes, requestCount: requestsEach });
    });
    consumers = each((connection, i) => {
      const subscription = `s-${i}`;
      return new StalledConsumer(connection, {
        topic: 'unread',
        subscription,
        maxMessages: 1_000_000,
        maxBytes: 2 ** 40,
      });
    });
    await untilHeld(producers, roundTrip);
    const isStalled = async () => {
      const listed = (await client.admin.listConsumers({ topic: 'unread' })).consumers;
      return (
        listed.length === streamCount && listed.every(({ waitReason }) => waitReason === WaitReason.TRANSPORT)
      );
    };
    while (!(await isStalled()));

    // Producers: the window and one request, which is copied when it is cut out. Consumers: their frames, and what
    // the reader of each subscription has read ahead from the disk.
    const producerBytes = windowBytes + 2 * requestBytes;
    const consumerBytes = limits.framesUnderWay * (limits.frameBytes + 64 * KiB) + limits.readAheadBytes;
    const mostBytes = streamCount * (producerBytes + consumerBytes) + 64 * MiB;
    const grownBytes = broker.rssBytes() - rssBefore;
    assert(grownBytes <= mostBytes, `the broker has grown by ${grownBytes} bytes, more than ${mostBytes}`);
  });

  it('go on when there is room again, all of them, and nothing is lost or doubled', async () => {
    for (const consumer of consumers) consumer.resume();
    await untilTrue(() => consumers.every(({ receivedBytes }) => receivedBytes >= unreadBytes), roundTrip);
    const total = streamCount * requestsEach;
    const consumer = await TestConsumer.open(client, { topic: 'held', subscription: 's' });
    for (let taken = 0; taken < total; ) {
      await consumer.until(() => consumer.inbox.length > 0);
      const messages = consumer.inbox.splice(0);
      for (const { offset } of messages) assert.equal(offset, taken++);
      await consumer.settleRanges([{ partition: 0, first: messages[0]!.offset, last: taken - 1 }], ack);
    }
    for (const producer of producers) {
      await producer.finish();
      assert.equal(producer.receiptedCount, requestsEach);
    }
    assert.equal(await storedCount(client, 'held'), total);
    consumer.close();
  });
});

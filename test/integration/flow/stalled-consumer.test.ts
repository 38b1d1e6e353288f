import assert from 'node:assert/strict';
import { connect, type SluiceClient } from '@sluice/client';
import { Consumer_WaitReason as WaitReason } from '@sluice/client/api';
import { limits } from '../../../src/base/limits.js';
import { KiB, MiB } from '../../../src/base/units.js';
import { useBroker } from '../../support/broker-process.js';
import { ack, TestConsumer } from '../../support/consumer.js';
import { PressingProducer, untilTrue } from '../../support/pressing-producer.js';
import { RawConnection } from '../../support/raw-grpc.js';
import { StalledConsumer } from '../../support/stalled-consumer.js';

const messageBytes = 64 * KiB;
const messageCount = 1_500;
const windowBytes = 64 * KiB;
/** Chunks of the heap and pages of the allocator come and go: what no test can be stricter than. */
const noiseBytes = 48 * MiB;

describe('a consumer that grants a million messages and reads nothing', () => {
  // A small tail, so that what the consumer leaves behind is on the disk and not in memory by rights.
  const broker = useBroker({ args: ['--tail-bytes', `${1 * MiB}`] });
  let client: SluiceClient;
  let connection: RawConnection;
  let stalled: StalledConsumer;

  before(async () => {
    client = connect(broker.address);
    connection = await RawConnection.connect(broker.address, { streamWindowBytes: windowBytes });
    const producer = new PressingProducer(connection, {
      topic: 'backlog',
      requestBytes: messageBytes,
      requestCount: messageCount,
    });
    await untilTrue(() => producer.receiptedCount === messageCount, roundTrip);
    await producer.finish();
  });
  after(() => {
    stalled.cancel();
    connection.destroy();
    client.close();
  });

  const roundTrip = () => client.admin.getServerInfo({});

  async function consumersOf(subscription: string) {
    return (await client.admin.listConsumers({ topic: 'backlog', subscription })).consumers;
  }

  it('has its window and two frames under way, and not a byte more of its gigabytes of credit', async () => {
    const rssBefore = broker.rssBytes();
    stalled = new StalledConsumer(connection, {
      topic: 'backlog',
      subscription: 'stalled',
      maxMessages: 1_000_000,
      maxBytes: 2 ** 40,
    });
    let consumer = (await consumersOf('stalled'))[0];
    while (consumer?.waitReason !== WaitReason.TRANSPORT) consumer = (await consumersOf('stalled'))[0];
    // A frame may pass its size by one message, with what encodes it.
    const entryBytes = messageBytes + 64;
    const mostBytes = windowBytes + limits.framesUnderWay * (limits.frameBytes + entryBytes);
    assert(
      Number(consumer.outstandingBytes) <= mostBytes,
      `${consumer.outstandingBytes} bytes are under way, more than ${mostBytes}`,
    );
    const grownBytes = broker.rssBytes() - rssBefore;
    assert(grownBytes < noiseBytes, `the broker has grown by ${grownBytes} bytes`);
  });

  it('takes nothing from the others: one more subscription gets everything', async () => {
    const [before] = await consumersOf('stalled');
    const other = await TestConsumer.open(client, { topic: 'backlog', subscription: 'other' });
    for (let taken = 0; taken < messageCount; ) {
      await other.until(() => other.inbox.length > 0);
      const messages = other.inbox.splice(0);
      assert.equal(messages[0]?.offset, taken);
      taken += messages.length;
      const first = messages[0]!.offset;
      await other.settleRanges([{ partition: 0, first, last: taken - 1 }], ack);
    }
    const [after] = await consumersOf('stalled');
    assert.equal(after?.waitReason, WaitReason.TRANSPORT);
    assert.equal(after?.outstandingBytes, before?.outstandingBytes);
    other.close();
  });

  it('gets all of it once it reads', async () => {
    stalled.resume();
    await untilTrue(() => stalled.receivedBytes >= messageCount * messageBytes, roundTrip);
  });
});

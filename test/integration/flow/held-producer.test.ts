import assert from 'node:assert/strict';
import { connect, type SluiceClient, SluiceError } from '@sluice/client';
import {
  Producer_HoldReason as HoldReason,
  type Producer,
  BacklogLimit_WhenFull as WhenFull,
} from '@sluice/client/api';
import { limits } from '../../../src/base/limits.js';
import { KiB, MiB } from '../../../src/base/units.js';
import { useBroker } from '../../support/broker-process.js';
import { ack, TestConsumer } from '../../support/consumer.js';
import { PressingProducer, untilHeld, untilTrue } from '../../support/pressing-producer.js';
import { publish } from '../../support/producer.js';
import { RawConnection } from '../../support/raw-grpc.js';
import { createLimitedTopic, storedCount } from '../../support/topics.js';

const windowBytes = 256 * KiB;
const requestBytes = 16 * KiB;
/** What Node takes out of the window ahead of the reader: one chunk in the stream's buffer, one being cut up. */
const readAheadBytes = 64 * KiB;
/** grpc-js keeps so much of a call for a retry, and reports it as sent at once. */
const retryBufferBytes = 1 * MiB;

function elapsedMs(producer: Producer | undefined): number {
  const { seconds, nanos } = producer!.holdTime!;
  return Number(seconds) * 1000 + nanos / 1e6;
}

describe('a producer at a full backlog', () => {
  const broker = useBroker({ args: ['--stream-window-bytes', `${windowBytes}`] });
  let client: SluiceClient;
  before(() => {
    client = connect(broker.address);
  });
  after(() => client.close());

  const roundTrip = () => client.admin.getServerInfo({});

  /** Takes and settles whatever there is until so many messages have come, in order and once each. */
  async function consume(topic: string, subscription: string, isDone: (taken: number) => boolean) {
    const consumer = await TestConsumer.open(client, { topic, subscription });
    for (let taken = 0; !isDone(taken); ) {
      await consumer.until(() => consumer.inbox.length > 0);
      const messages = consumer.inbox.splice(0);
      for (const { offset } of messages) assert.equal(offset, taken++);
      await consumer.settleRanges([{ partition: 0, first: messages[0]!.offset, last: taken - 1 }], ack);
    }
    consumer.close();
  }

  it('leaves no more with the broker than its window and one request, and goes on by itself', async () => {
    const topic = { name: 'blocking', maxMessages: 20, whenFull: WhenFull.BLOCK };
    await createLimitedTopic(client, topic, 's');
    const connection = await RawConnection.connect(broker.address);
    const requestCount = 400;
    const producer = new PressingProducer(connection, { topic: 'blocking', requestBytes, requestCount });
    await untilHeld([producer], roundTrip);
    const stored = await storedCount(client, 'blocking');
    assert(stored < requestCount, 'the backlog was never full');
    const waitingBytes = (producer.takenCount - stored) * requestBytes;
    const mostBytes = windowBytes + requestBytes + readAheadBytes;
    assert(waitingBytes <= mostBytes, `${waitingBytes} bytes wait with the broker, more than ${mostBytes}`);
    // A window begins narrower, and this producer was held before it had used it for long.
    assert(waitingBytes >= limits.initialWindowBytes / 2, `${waitingBytes} bytes: the window was not used`);
    const held = async () => (await client.admin.listProducers({ topic: 'blocking' })).producers;
    const [first] = await held();
    assert.equal(first?.holdReason, HoldReason.BACKLOG);
    const [second] = await held();
    assert(elapsedMs(second) > elapsedMs(first), 'the time for which it is held does not grow');
    await consume('blocking', 's', (taken) => taken === requestCount);
    await untilTrue(() => producer.receiptedCount === requestCount, roundTrip);
    assert.equal((await held())[0]?.holdReason, HoldReason.UNSPECIFIED);
    assert.deepEqual(producer.refusals, []);
    assert.equal(await storedCount(client, 'blocking'), requestCount);
    await producer.finish();
    connection.destroy();
  });

  it('waits in write(), in Node, until a consumer returns', async () => {
    await createLimitedTopic(client, { name: 'waiting', maxMessages: 10, whenFull: WhenFull.BLOCK }, 's');
    const sendBufferBytes = 4 * requestBytes;
    const producing = connect(broker.address, { sendBufferBytes });
    const call = producing.broker.publishStream();
    let receiptedCount = 0;
    const receiving = (async () => {
      for await (const { error } of call) {
        assert.equal(error, undefined);
        receiptedCount++;
      }
    })();
    let writtenCount = 0;
    const payload = Buffer.alloc(requestBytes);
    const write = async () => {
      await call.write({ topic: 'waiting', batchId: BigInt(writtenCount), messages: [{ payload }] });
      writtenCount++;
    };
    let isHeld = false;
    while (!isHeld) {
      let isWritten = false;
      const writing = write().then(() => {
        isWritten = true;
      });
      for (let i = 0; i < 50 && !isWritten; i++) await roundTrip();
      if (isWritten) continue;
      isHeld = true;
      const brokerBytes = 11 * requestBytes + windowBytes + readAheadBytes;
      const mostBytes = brokerBytes + retryBufferBytes + sendBufferBytes + requestBytes;
      assert(writtenCount * requestBytes <= mostBytes, `${writtenCount} writes went through`);
      const consuming = consume('waiting', 's', (taken) => taken === writtenCount);
      // Only the consumer acts here, and the write ends.
      await writing;
      await consuming;
    }
    call.end();
    await receiving;
    assert.equal(receiptedCount, writtenCount);
    producing.close();
  });

  it('hears BACKLOG_FULL for each batch where it is to be refused, and its stream goes on', async () => {
    await createLimitedTopic(client, { name: 'refusing', maxMessages: 5, whenFull: WhenFull.REJECT }, 's');
    const connection = await RawConnection.connect(broker.address);
    const producer = new PressingProducer(connection, { topic: 'refusing', requestBytes });
    await untilTrue(() => producer.refusals.length >= 100, roundTrip);
    assert.deepEqual(new Set(producer.refusals), new Set(['BACKLOG_FULL']));
    // `Publish` says as well when to come back: there is room for that in its status.
    const refusal = await publish(client, 'refusing', ['one more']).catch((error: unknown) => error);
    assert(refusal instanceof SluiceError);
    assert.equal(refusal.reason, 'BACKLOG_FULL');
    assert(refusal.retryAfterMs! > 0);
    const receiptedBefore = producer.receiptedCount;
    await consume('refusing', 's', () => producer.receiptedCount > receiptedBefore + 20);
    await producer.finish();
    assert.equal(
      await storedCount(client, 'refusing'),
      producer.receiptedCount,
      'a refused batch was stored',
    );
    connection.destroy();
  });
});

import assert from 'node:assert/strict';
import { fromBinary } from '@bufbuild/protobuf';
import { connect, type SluiceClient } from '@sluice/client';
import { BacklogLimit_WhenFull as WhenFull } from '@sluice/client/api';
import { KiB } from '../../../src/base/units.js';
import { Admin } from '../../../src/gen/sluice/v1/admin_pb.js';
import {
  Broker,
  SubscribeRequestSchema,
  SubscribeResponseSchema,
} from '../../../src/gen/sluice/v1/broker_pb.js';
import { useBroker } from '../../support/broker-process.js';
import { Inbox } from '../../support/inbox.js';
import { PressingProducer, untilHeld } from '../../support/pressing-producer.js';
import { publish, texts } from '../../support/producer.js';
import { encode, RawConnection } from '../../support/raw-grpc.js';
import { StalledConsumer } from '../../support/stalled-consumer.js';
import { createLimitedTopic } from '../../support/topics.js';

const windowBytes = 128 * KiB;

/** Both windows are alike: one blocked stream is enough to use up the connection's, if its credit came back late. */
describe('streams of one connection', () => {
  const broker = useBroker({
    args: ['--stream-window-bytes', `${windowBytes}`, '--connection-window-bytes', `${windowBytes}`],
  });
  let client: SluiceClient;
  let connection: RawConnection;
  before(async () => {
    client = connect(broker.address);
    connection = await RawConnection.connect(broker.address, {
      streamWindowBytes: windowBytes,
      connectionWindowBytes: windowBytes,
    });
  });
  after(() => {
    connection.destroy();
    client.close();
  });

  const roundTrip = () => connection.unary(Admin.method.getServerInfo, {});

  it('do not feel each other: a held publish, a consumer that does not read, and one that works', async () => {
    const heldTopic = { name: 'held', maxMessages: 1, whenFull: WhenFull.BLOCK };
    await createLimitedTopic(client, heldTopic, 'behind');
    const producers = Array.from({ length: 3 }, () => {
      return new PressingProducer(connection, { topic: 'held', requestBytes: 16 * KiB });
    });
    await untilHeld(producers, roundTrip);
    const takenCount = producers.map((producer) => producer.takenCount);
    const takenBytes = takenCount.reduce((sum, count) => sum + count, 0) * 16 * KiB;
    assert(takenBytes > windowBytes, `only ${takenBytes} bytes wait: the connection's window was never full`);

    await publish(
      client,
      'unread',
      Array.from({ length: 40 }, () => 'x'.repeat(windowBytes / 4)),
    );
    const stalled = new StalledConsumer(connection, {
      topic: 'unread',
      subscription: 's',
      maxMessages: 1_000,
      maxBytes: 1_000_000_000,
    });

    const count = 500;
    await publish(client, 'live', texts('m', count));
    const delivered = new Inbox<{ sessionId: string; runs: { first: bigint; last: bigint }[] }>();
    const stream = connection.open(Broker.method.subscribe, {
      onMessage: (bytes) => {
        const { opened, runs } = fromBinary(SubscribeResponseSchema, bytes);
        delivered.push({
          sessionId: opened?.sessionId ?? '',
          runs: runs.map(({ firstOffset, messages }) => ({
            first: firstOffset,
            last: firstOffset + BigInt(messages.length) - 1n,
          })),
        });
      },
      onEnd: () => {},
    });
    stream.write(
      encode(SubscribeRequestSchema, {
        topic: 'live',
        subscription: 's',
        flowControl: { maxOutstandingMessages: 10 },
      }),
    );
    stream.end();
    let sessionId = '';
    for (let settledCount = 0n; settledCount < count; ) {
      const response = await delivered.next();
      sessionId ||= response.sessionId;
      for (const { first, last } of response.runs) {
        const offsets = { partition: 0, firstOffset: first, lastOffset: last };
        const settlements = [{ offsets, outcome: { case: 'ack' as const, value: {} } }];
        const answer = await connection.unary(Broker.method.acknowledge, { sessionId, settlements });
        settledCount += answer.settledCount;
      }
    }
    assert.deepEqual(
      producers.map((producer) => producer.takenCount),
      takenCount,
      'the producers were not held all the while',
    );
    assert.equal(stalled.receivedBytes, 0);
    for (const producer of producers) producer.cancel();
    stalled.cancel();
    stream.cancel();
  });
});

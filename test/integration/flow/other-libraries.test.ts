import assert from 'node:assert/strict';
import { connect, type SluiceClient } from '@sluice/client';
import {
  Producer_HoldReason as HoldReason,
  Consumer_WaitReason as WaitReason,
  BacklogLimit_WhenFull as WhenFull,
} from '@sluice/client/api';
import { KiB, MiB } from '../../../src/base/units.js';
import { useBroker } from '../../support/broker-process.js';
import { flowClients, RunningFlowClient } from '../../support/flow-clients.js';
import { publish } from '../../support/producer.js';
import { createLimitedTopic, storedCount } from '../../support/topics.js';

const requestBytes = 16 * KiB;
const requestCount = 1_000;
/** What a library and the two kernels may take before it says that there is no room. */
const mostUnderWayBytes = 8 * MiB;
/** A library may widen its window while it receives: grpcio took 9 MiB that its program did not read. */
const unreadCount = 4_000;
const mostUnreadBytes = 32 * MiB;

for (const library of flowClients) {
  describe(`flow control with ${library.name}`, function () {
    // The first time it is downloaded and built.
    this.timeout(300_000);
    const broker = useBroker();
    let command: readonly string[];
    let client: SluiceClient;
    const running: RunningFlowClient[] = [];

    before(async function () {
      client = connect(broker.address);
      try {
        command = await library.build();
      } catch (error) {
        const message = `the client of ${library.name} can't be built: ${error instanceof Error ? error.message : error}`;
        if (process.env.CI === 'true') throw new Error(message, { cause: error });
        console.warn(`      skipped: ${message}`);
        this.skip();
      }
    });
    after(() => {
      for (const each of running) each.kill();
      client?.close();
    });

    function start(...args: (string | number)[]): RunningFlowClient {
      const started = new RunningFlowClient(command, ...args);
      running.push(started);
      return started;
    }

    it('holds its producer at a full backlog, and lets it go on', async () => {
      await createLimitedTopic(client, { name: 'held', maxMessages: 20, whenFull: WhenFull.BLOCK }, 's');
      const producer = start('publish', broker.address, 'held', requestBytes, requestCount);
      const listed = async () => (await client.admin.listProducers({ topic: 'held' })).producers[0];
      for (let held = await listed(); held?.holdReason !== HoldReason.BACKLOG; held = await listed());
      // Held for a while that is long for everything that was under way.
      for (let held = await listed(); held!.holdTime!.seconds < 1n; held = await listed());
      const stored = await storedCount(client, 'held');
      const underWayBytes = ((producer.said.sent ?? 0) - stored) * requestBytes;
      assert(stored < requestCount);
      assert(underWayBytes < mostUnderWayBytes, `${underWayBytes} bytes are under way`);
      assert(producer.said.sent! < requestCount, 'it was not held');
      await client.admin.deleteSubscription({ topic: 'held', name: 's' });
      await producer.ended;
      assert.equal(producer.said.receipts, requestCount);
      assert.equal(await storedCount(client, 'held'), requestCount);
    });

    it('leaves a consumer that does not read two frames, and delivers all when it reads', async () => {
      const payload = 'x'.repeat(requestBytes);
      const totalBytes = unreadCount * requestBytes;
      for (let i = 0; i < unreadCount; i += 100) {
        await publish(
          client,
          'unread',
          Array.from({ length: 100 }, () => payload),
        );
      }
      const rssBefore = broker.rssBytes();
      const consumer = start('consume', broker.address, 'unread', 's', totalBytes);
      const listed = async () => (await client.admin.listConsumers({ topic: 'unread' })).consumers[0];
      let found = await listed();
      while (found?.waitReason !== WaitReason.TRANSPORT) found = await listed();
      while ((found?.waitTime?.seconds ?? 0n) < 1n) found = await listed();
      const outstandingBytes = Number(found!.outstandingBytes);
      assert(outstandingBytes < mostUnreadBytes, `${outstandingBytes} bytes are under way`);
      const grownBytes = broker.rssBytes() - rssBefore;
      assert(grownBytes < 48 * MiB, `the broker has grown by ${grownBytes} bytes`);
      consumer.writeLine();
      await consumer.ended;
      assert(consumer.said.received! >= totalBytes);
    });
  });
}

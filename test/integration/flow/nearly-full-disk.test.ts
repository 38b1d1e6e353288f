import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type SluiceClient, SluiceError } from '@sluice/client';
import { Producer_HoldReason as HoldReason, BacklogLimit_WhenFull as WhenFull } from '@sluice/client/api';
import { KiB, MiB } from '../../../src/base/units.js';
import { BrokerProcess, showLogOnFailure } from '../../support/broker-process.js';
import { PressingProducer, untilHeld, untilTrue } from '../../support/pressing-producer.js';
import { publish } from '../../support/producer.js';
import { RawConnection } from '../../support/raw-grpc.js';
import { createLimitedTopic, storedCount } from '../../support/topics.js';

/** Far more than other programs write or free in the time of a test. */
const slackBytes = 512 * MiB;

describe('a nearly full disk', () => {
  const directory = mkdtempSync(join(tmpdir(), 'sluice-ballast-'));
  const ballast = join(directory, 'ballast');
  let broker: BrokerProcess;
  let client: SluiceClient;
  before(async () => {
    const { bavail, bsize } = statfsSync(directory);
    broker = await BrokerProcess.start({
      args: ['--min-free-disk-bytes', `${bavail * bsize - slackBytes}`],
    });
    client = connect(broker.address);
  });
  showLogOnFailure(() => broker);
  after(async () => {
    client?.close();
    await broker?.dispose();
    rmSync(directory, { recursive: true });
  });

  const roundTrip = () => client.admin.getServerInfo({});
  const holds = async (topic: string) => (await client.admin.listProducers({ topic })).producers;

  /** The disk fills: seen by the broker once it refuses a topic that would be made. */
  async function fillDisk(): Promise<void> {
    const block = Buffer.alloc(64 * MiB, 1);
    for (let written = 0; written < 2 * slackBytes; written += block.length) {
      writeFileSync(ballast, block, { flag: 'a' });
    }
    for (let i = 0; ; i++) {
      const refusal = await publish(client, `made-${i}`, ['m']).catch((error) => error);
      if (!(refusal instanceof SluiceError)) continue;
      assert.equal(refusal.reason, 'DISK_NEARLY_FULL');
      assert(refusal.retryAfterMs! > 0);
      return;
    }
  }

  it('holds producers, says so, and lets them go on by themselves; refuses those who asked for that', async () => {
    await createLimitedTopic(client, { name: 'held', maxMessages: 0, whenFull: WhenFull.BLOCK }, 's');
    await createLimitedTopic(client, { name: 'refused', maxMessages: 0, whenFull: WhenFull.REJECT }, 's');
    await fillDisk();
    const connection = await RawConnection.connect(broker.address);
    const requestCount = 200;
    const producer = new PressingProducer(connection, {
      topic: 'held',
      requestBytes: 16 * KiB,
      requestCount,
    });
    await untilHeld([producer], roundTrip);
    assert.equal(await storedCount(client, 'held'), 0);
    const [held] = await holds('held');
    assert.equal(held?.holdReason, HoldReason.DISK);
    assert.equal(held?.pendingRequestCount, 1n);

    await assert.rejects(publish(client, 'refused', ['m']), { reason: 'DISK_NEARLY_FULL' });
    const stream = client.broker.publishStream();
    await stream.write({ topic: 'refused', batchId: 1n, messages: [{}] });
    stream.end();
    for await (const { error } of stream) {
      assert.equal(error?.reason, 'DISK_NEARLY_FULL');
      assert.equal(error?.retryDelay?.seconds, 5n);
    }

    rmSync(ballast);
    await untilTrue(() => producer.receiptedCount === requestCount, roundTrip);
    assert.deepEqual(producer.refusals, []);
    assert.equal(await storedCount(client, 'held'), requestCount);
    await publish(client, 'refused', ['m']);
    await producer.finish();
    connection.destroy();
  });
});

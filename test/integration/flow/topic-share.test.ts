import assert from 'node:assert/strict';
import { connect, type SluiceClient } from '@sluice/client';
import { Producer_HoldReason as HoldReason } from '@sluice/client/api';
import { StatusCode } from '../../../src/base/reasons.js';
import { KiB, MiB } from '../../../src/base/units.js';
import { Broker, PublishRequestSchema } from '../../../src/gen/sluice/v1/broker_pb.js';
import { BrokerProcess, showLogOnFailure } from '../../support/broker-process.js';
import { execCli } from '../../support/cli-process.js';
import { PressingProducer, untilTrue } from '../../support/pressing-producer.js';
import { encode, RawConnection } from '../../support/raw-grpc.js';
import { SlowDisk } from '../../support/slow-disk.js';
import { storedCount } from '../../support/topics.js';

const manyStreams = 1_000;
const connectionCount = 8;
const requestBytes = 16 * KiB;
const syncMs = 200;
/** Requests of the single stream before it is compared, and while it is. */
const settledCount = 200;
const sampleCount = 1_000;

/** Keeps so many `Publish` calls of one request each under way on a connection, one after the other. */
class PressingCalls {
  storedCount = 0;
  readonly ended: Promise<void>[];
  #isFinishing = false;
  readonly #connection: RawConnection;
  readonly #request: Uint8Array;

  constructor(connection: RawConnection, topic: string, callCount: number) {
    this.#connection = connection;
    this.#request = encode(PublishRequestSchema, {
      topic,
      messages: [{ payload: Buffer.alloc(requestBytes) }],
    });
    this.ended = Array.from({ length: callCount }, () => this.#press());
  }

  async finish(): Promise<void> {
    this.#isFinishing = true;
    await Promise.all(this.ended);
  }

  async #press(): Promise<void> {
    while (!this.#isFinishing) {
      await new Promise<void>((resolve, reject) => {
        const stream = this.#connection.open(Broker.method.publish, {
          onMessage: () => {},
          onEnd: ({ code, message }) => {
            if (code === StatusCode.OK) resolve();
            else reject(new Error(`Publish ended with ${code}: ${message}`));
          },
        });
        stream.write(this.#request);
        stream.end();
      });
      this.storedCount++;
    }
  }
}

describe('two topics on a slow disk', function () {
  this.timeout(120_000);
  let disk: SlowDisk | undefined;
  let broker: BrokerProcess | undefined;
  let client: SluiceClient;
  let connections: RawConnection[] = [];

  before(async function () {
    disk = SlowDisk.create();
    if (disk === undefined) {
      assert(process.env.CI !== 'true', 'there is no gcc: install it, so that slow disks are tested');
      this.skip();
    }
    broker = await BrokerProcess.start({
      env: disk.env,
      args: ['--writer-queue-bytes', `${2 * MiB}`],
    });
    const { address } = broker;
    client = connect(address);
    connections = await Promise.all(
      Array.from({ length: connectionCount + 1 }, () => RawConnection.connect(address)),
    );
  });
  showLogOnFailure(() => broker);
  after(async () => {
    disk?.setDelayMs(0);
    for (const connection of connections) connection.destroy();
    client?.close();
    await broker?.dispose();
    disk?.dispose();
  });

  const roundTrip = () => client.admin.getServerInfo({});
  const receipted = (producers: readonly PressingProducer[]) =>
    producers.reduce((total, { receiptedCount }) => total + receiptedCount, 0);

  it(`have half of it each, one with ${manyStreams} streams and one with a single stream`, async () => {
    disk!.setDelayMs(syncMs);
    const many = Array.from(
      { length: manyStreams },
      (_, i) => new PressingProducer(connections[i % connectionCount]!, { topic: 'many', requestBytes }),
    );
    // The first request of each has been stored, and they wait for each other.
    await untilTrue(() => receipted(many) >= 2 * manyStreams, roundTrip);
    const single = new PressingProducer(connections.at(-1)!, { topic: 'single', requestBytes });
    // Both counts are taken when a round with requests of the single stream has been stored.
    const untilSingle = async (count: number) => {
      await untilTrue(() => single.receiptedCount >= count, roundTrip);
      return { single: single.receiptedCount, many: receipted(many) };
    };
    const from = await untilSingle(settledCount);
    const to = await untilSingle(from.single + sampleCount);
    const ofSingle = to.single - from.single;
    const ofMany = to.many - from.many;
    const share = ofSingle / (ofSingle + ofMany);
    assert(share >= 0.45, `the single stream had ${ofSingle} requests stored, the others ${ofMany}`);

    const listed = (await client.admin.listProducers({ topic: 'many' })).producers;
    const isShare = listed.filter(({ holdReason }) => holdReason === HoldReason.SHARE);
    assert(
      isShare.length > 0.9 * manyStreams,
      `${isShare.length} of ${listed.length} are held by their share`,
    );

    const { stdout } = await execCli(broker!.address, ['producers', 'many']);
    const rows = stdout
      .toString()
      .split('\n')
      .filter((line) => / share +\d/.test(line));
    assert(
      rows.length > 0.9 * manyStreams,
      `sluice producers shows ${rows.length} streams that are held by share`,
    );

    disk!.setDelayMs(0);
    const all = [...many, single];
    await Promise.all(all.map((producer) => producer.finish()));
    for (const producer of all) {
      assert.deepEqual(producer.refusals, []);
      assert.equal(producer.receiptedCount, producer.writtenCount, 'a batch has no receipt');
    }
    assert.equal(await storedCount(client, 'many'), receipted(many));
    assert.equal(await storedCount(client, 'single'), single.receiptedCount);
  });

  it('have half of it each, where every request is a call of its own', async () => {
    const callsEach = 100;
    disk!.setDelayMs(syncMs);
    const many = connections.slice(0, -1).map((each) => new PressingCalls(each, 'many-calls', callsEach));
    const few = new PressingCalls(connections.at(-1)!, 'few-calls', callsEach);
    const untilFew = async (count: number) => {
      await untilTrue(() => few.storedCount >= count, roundTrip);
      return { few: few.storedCount, many: many.reduce((total, each) => total + each.storedCount, 0) };
    };
    // The first call of each connection may have waited with all other newcomers.
    const from = await untilFew(4 * callsEach);
    const to = await untilFew(from.few + sampleCount);
    const ofFew = to.few - from.few;
    const ofMany = to.many - from.many;
    assert(
      ofFew >= 0.45 * (ofFew + ofMany),
      `one connection had ${ofFew} calls stored, the others ${ofMany}`,
    );
    disk!.setDelayMs(0);
    await Promise.all([...many, few].map((each) => each.finish()));
    assert.equal(await storedCount(client, 'few-calls'), few.storedCount);
  });
});

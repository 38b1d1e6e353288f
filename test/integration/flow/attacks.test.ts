import assert from 'node:assert/strict';
import { minuteMs } from '../../../src/base/units.js';
import { Admin, ListTopicsRequestSchema } from '../../../src/gen/sluice/v1/admin_pb.js';
import { SubscribeRequestSchema } from '../../../src/gen/sluice/v1/broker_pb.js';
import { AttackedBroker } from '../../support/attack.js';
import { showLogOnFailure } from '../../support/broker-process.js';
import { frame } from '../../support/grpc-framing.js';
import { encode, RawConnection, RawGrpcError } from '../../support/raw-grpc.js';
import { RawHttp2 } from '../../support/raw-http2.js';
import { until } from '../../support/until.js';

const maxConnections = 300;

describe('a client beside', function () {
  this.timeout(3 * minuteMs);
  this.slow(minuteMs);
  let attacked: AttackedBroker;
  let attackers: RawHttp2[];

  beforeEach(async () => {
    attacked = await AttackedBroker.start(['--max-connections-per-peer', `${maxConnections}`]);
    attackers = [];
  });
  showLogOnFailure(() => attacked.process);
  afterEach(async () => {
    for (const attacker of attackers) attacker.destroy();
    await attacked.dispose();
  });

  async function connectAttacker(windowBytes?: number): Promise<RawHttp2> {
    const attacker = await RawHttp2.open(attacked.process.address, windowBytes);
    attackers.push(attacker);
    return attacker;
  }

  const play = (attack: () => Promise<void>) => attacked.play(attack);

  it('thousands of streams that are opened and reset at once', async () => {
    const body = encode(SubscribeRequestSchema, { topic: 'canary', subscription: 'other' });
    await play(async () => {
      for (let i = 0; i < 100; i++) {
        const attacker = (await connectAttacker()).drain();
        await attacker.send({ path: '/sluice.v1.Broker/Subscribe', body, isReset: true }, 1_000);
      }
    });
  });

  /** So that the list of them is long. */
  async function createTopics(): Promise<void> {
    const connection = await RawConnection.connect(attacked.process.address);
    for (let i = 0; i < 500; i++) {
      await connection.unary(Admin.method.createTopic, { topic: { name: `${'long-name-'.repeat(15)}${i}` } });
    }
    connection.destroy();
  }

  it('thousands of answers that are not read', async () => {
    await createTopics();
    const body = encode(ListTopicsRequestSchema, { pageSize: 1_000 });
    await play(async () => {
      for (let i = 0; i < 6; i++) {
        const attacker = await connectAttacker();
        await attacker.send({ path: '/sluice.v1.Admin/ListTopics', body }, 1_000);
      }
    });
  });

  /** As much as a stream's first window takes. */
  const largeBody = frame(Buffer.alloc(60_000));

  /** Calls of four connections; the broker would hold 600 MB if it kept what they bring. */
  async function sendLargeBodies(attackers: readonly RawHttp2[], isOpen: boolean): Promise<void> {
    const paths = ['/sluice.v1.Admin/GetTopic', '/sluice.v1.Broker/Acknowledge'];
    for (let i = 0; i < 1_000; i++) {
      await attackers[i % 4]!.send({ path: paths[(i >> 2) % 2]!, body: largeBody, isOpen }, 10);
    }
  }

  it('thousands of large requests that never end', async () => {
    await play(async () => {
      const connections = await Promise.all(Array.from({ length: 4 }, () => connectAttacker()));
      for (const connection of connections) connection.drain();
      await sendLargeBodies(connections, true);
    });
  });

  it('thousands of large requests behind answers that are not read', async () => {
    await createTopics();
    const body = encode(ListTopicsRequestSchema, { pageSize: 1_000 });
    await play(async () => {
      const connections = await Promise.all(Array.from({ length: 4 }, () => connectAttacker(0)));
      for (const connection of connections) {
        await connection.drain().send({ path: '/sluice.v1.Admin/ListTopics', body }, 20);
      }
      await sendLargeBodies(connections, false);
    });
  });

  for (const headerBytes of [7_500, 60_000]) {
    const mostCalls = headerBytes < 20_000 ? 26_000 : 13_000;
    it(`thousands of open calls, each with headers of ${headerBytes} bytes`, async () => {
      const headers = { 'x-large': 'x'.repeat(headerBytes) };
      await play(async () => {
        const connections = [(await connectAttacker()).drain(), (await connectAttacker()).drain()];
        for (let i = 0; i < mostCalls / 50; i++) {
          await connections[i % 2]!.send({ path: '/sluice.v1.Admin/GetServerInfo', headers }, 50);
        }
      });
    });
  }

  it('a flood of connections, which hear why they are refused and leave room when they go', async () => {
    await play(async () => {
      for (let i = 0; i < 1_500; i++) (await connectAttacker()).drain();
      // One more among the surplus of a flood would be closed at once: here all of them but the allowed ones are gone.
      await until(() => attackers.filter(({ isClosed }) => !isClosed).length < maxConnections);
      const late = await RawConnection.connect(attacked.process.address);
      await assert.rejects(
        late.unary(Admin.method.getServerInfo, {}),
        (error) => error instanceof RawGrpcError && error.status.reason === 'TOO_MANY_CONNECTIONS',
      );
      late.destroy();
    });
    for (const attacker of attackers) attacker.destroy();
    for (;;) {
      const next = await RawConnection.connect(attacked.process.address);
      const isServed = await next.unary(Admin.method.getServerInfo, {}).then(
        () => true,
        () => false,
      );
      next.destroy();
      if (isServed) break;
    }
  });
});

import { connect, type SluiceClient } from '@sluice/client';
import {
  Producer_HoldReason as HoldReason,
  StartPosition_Boundary,
  Consumer_WaitReason as WaitReason,
  BacklogLimit_WhenFull as WhenFull,
} from '@sluice/client/api';
import { limits } from '../../src/base/limits.js';
import { divideBudget } from '../../src/base/memory-budget.js';
import { KiB, MiB, secondMs } from '../../src/base/units.js';
import { flowClients, RunningFlowClient } from '../../test/support/flow-clients.js';
import { PressingProducer, untilHeld } from '../../test/support/pressing-producer.js';
import { publish } from '../../test/support/producer.js';
import { RawConnection } from '../../test/support/raw-grpc.js';
import { untilReleased } from '../../test/support/slow-disk.js';
import { StalledConsumer } from '../../test/support/stalled-consumer.js';
import { createLimitedTopic } from '../../test/support/topics.js';
import { flowTopic, partitionCount, type Scene, troubleSpans, type World } from './scene.js';

/** A frame, and what is read ahead, ends with the record that fills it: up to twice its size. */
const frames = limits.framesUnderWay * 2 * limits.frameBytes;
const readAhead = 2 * limits.readAheadBytes;
const fast = (consumers: number) => () => ({ consumers });

/** What waits, as ListConsumers tells it. */
async function waits(client: SluiceClient, topic: string, subscription: string): Promise<string> {
  const { consumers } = await client.admin.listConsumers({ topic, subscription });
  return consumers
    .map(
      ({ waitReason, outstandingMessageCount, outstandingBytes }) =>
        `${WaitReason[waitReason]} with ${outstandingMessageCount} messages, ${outstandingBytes} bytes`,
    )
    .join('; ');
}

async function asked<T>(world: World, work: (client: SluiceClient) => Promise<T>): Promise<T> {
  const client = connect(world.broker.address);
  try {
    return await work(client);
  } finally {
    client.close();
  }
}

/** One more subscription with a consumer of its own, which `read` or not, and never settles. */
function unsettling(options: { maxMessages: number; maxBytes: number; isReading: boolean }) {
  const subscription = 'stuck';
  let connection: RawConnection | undefined;
  return {
    dropsUnacknowledged: true,
    // What the others have not read yet must not be dropped, however long a worker thread of theirs is held up.
    retainedBytes: 256 * MiB,
    async begin(world: World): Promise<void> {
      const { broker } = world;
      // From the newest on: it is to be beside the others, not to read what they are done with.
      const position = { case: 'boundary', value: StartPosition_Boundary.LATEST } as const;
      await asked(world, ({ admin }) =>
        admin.createSubscription({
          subscription: { topic: flowTopic, name: subscription },
          start: { position },
        }),
      );
      connection = await RawConnection.connect(broker.address, { streamWindowBytes: 64 * KiB });
      const { maxMessages, maxBytes, isReading } = options;
      const consumer = new StalledConsumer(connection, {
        topic: flowTopic,
        subscription,
        maxMessages,
        maxBytes,
      });
      if (isReading) consumer.resume();
    },
    async end(world: World): Promise<string> {
      const seen = await asked(world, (client) => waits(client, flowTopic, subscription));
      connection?.destroy();
      await asked(world, ({ admin }) => admin.deleteSubscription({ topic: flowTopic, name: subscription }));
      return seen;
    },
  };
}

const noTrouble: Scene = {
  name: 'no-trouble',
  about: 'nothing happens: how far the measurement itself can be trusted',
  isRepeatable: true,
  consumers: fast(8),
  others: 'consumers',
  stopsProducers: false,
  allowedBytes: 0,
};

const grantsMuch: Scene = {
  name: 'reads-nothing',
  about: 'a consumer that grants a million messages and reads nothing',
  isRepeatable: true,
  consumers: fast(8),
  others: 'consumers',
  stopsProducers: false,
  allowedBytes: frames + 8 * readAhead,
  ...unsettling({ maxMessages: 1_000_000, maxBytes: 2 ** 40, isReading: false }),
};

const neverSettles: Scene = {
  name: 'settles-nothing',
  about: 'a consumer that reads 100,000 messages or 64 MiB and never settles',
  isRepeatable: true,
  consumers: fast(8),
  others: 'consumers',
  stopsProducers: false,
  allowedBytes: frames + 8 * readAhead,
  ...unsettling({ maxMessages: 100_000, maxBytes: 64 * MiB, isReading: true }),
};

const oneSlow: Scene = {
  name: 'one-slow',
  about: 'one consumer at 100 messages a second beside seven fast ones, in one subscription',
  isRepeatable: true,
  consumers: (phases) => ({
    consumers: 8,
    slowdown: { consumers: 1, messagesPerSecond: 100, spans: troubleSpans(phases) },
  }),
  others: 'consumers',
  stopsProducers: false,
  allowedBytes: readAhead,
};

const diskBounds =
  limits.writerQueueBytes + limits.roundsUnderWay * limits.roundBytes + 8 * limits.streamWindowBytes;

function slowSync(name: string, about: string, delayMs: number): Scene {
  return {
    name,
    about,
    needsSlowDisk: true,
    consumers: fast(8),
    others: 'reader',
    stopsProducers: true,
    allowedBytes: diskBounds,
    async begin({ disk }) {
      disk!.setDelayMs(delayMs);
    },
    async end({ disk }) {
      disk!.setDelayMs(0);
      return '';
    },
  };
}

const fullBacklog: Scene = {
  name: 'full-backlog',
  about: 'all consumers stop, the backlog of 16 MiB a partition fills, then they return',
  topic: { backlogLimit: { maxBytes: BigInt(16 * MiB), whenFull: WhenFull.BLOCK } },
  consumers: (phases) => ({
    consumers: 8,
    slowdown: { consumers: 8, messagesPerSecond: 0, spans: troubleSpans(phases) },
  }),
  others: 'reader',
  stopsProducers: true,
  allowedBytes: 8 * (limits.streamWindowBytes + 64 * KiB),
};

const stalledStreamCount = 1_000;
/** What may be in flight in all, and what of it is left to be shared by the stalled streams. */
const stalledBudgetBytes = 512 * MiB;
const stalledBudget = divideBudget({ ...limits, maxInFlightBytes: stalledBudgetBytes });
const stalledSharedBytes =
  stalledBudget.receiveBytes + stalledBudget.frameBytes + stalledBudget.readAheadBytes;
/**
 * Node does not read from a connection while a write to it is under way. Where both ends are Node and both may have
 * more under way than the kernel buffers, they would wait for each other; a connection window of a megabyte, as our
 * client has it, keeps one direction below that.
 */
const stalledWindows = { streamWindowBytes: 64 * KiB, connectionWindowBytes: 1 * MiB };
/** More than a window and what the broker reads of it; not so much that the end of the stall becomes a load of its own. */
const stalledRequestBytes = 16 * KiB;
const stalledRequestCount = 20;

/** The stalled producers are held by a backlog of their own; the stalled consumers do not read a topic of their own. */
function manyStalled(): Scene {
  let connections: RawConnection[] = [];
  let producers: PressingProducer[] = [];
  return {
    name: 'many-stalled',
    about: `${stalledStreamCount} held producers and ${stalledStreamCount} consumers that do not read, on 8 connections`,
    turnMs: 12 * secondMs,
    isRepeatable: true,
    brokerArgs: ['--max-in-flight-bytes', `${stalledBudgetBytes}`],
    consumers: fast(8),
    others: 'consumers',
    stopsProducers: false,
    allowedBytes: stalledSharedBytes,
    async prepare(world) {
      await asked(world, async (client) => {
        const held = { name: 'held', partitionCount, maxMessages: 1, whenFull: WhenFull.BLOCK };
        await createLimitedTopic(client, held, 's');
        for (let i = 0; i < stalledStreamCount; i++) {
          await client.admin.createSubscription({ subscription: { topic: 'unread', name: `s-${i}` } });
        }
        const call = client.broker.publish();
        const messages = Array.from({ length: 16 }, () => ({ payload: Buffer.alloc(64 * KiB) }));
        await call.write({ topic: 'unread', messages });
        call.end();
        await call.result;
      });
    },
    async begin(world) {
      const { broker } = world;
      await asked(world, ({ admin }) =>
        admin.updateTopic({
          topic: { name: 'held', backlogLimit: { maxMessages: 1n, whenFull: WhenFull.BLOCK } },
          updateMask: { paths: ['backlog_limit'] },
        }),
      );
      connections = await Promise.all(
        Array.from({ length: 8 }, () => RawConnection.connect(broker.address, stalledWindows)),
      );
      const each = <T>(make: (connection: RawConnection, i: number) => T) =>
        Array.from({ length: stalledStreamCount }, (_, i) => make(connections[i % connections.length]!, i));
      producers = each((connection) => {
        const requestBytes = stalledRequestBytes;
        return new PressingProducer(connection, {
          topic: 'held',
          requestBytes,
          requestCount: stalledRequestCount,
        });
      });
      each((connection, i) => {
        const credit = { maxMessages: 1_000_000, maxBytes: 2 ** 40 };
        return new StalledConsumer(connection, { topic: 'unread', subscription: `s-${i}`, ...credit });
      });
      // Opening the streams is work for the whole broker; the scene measures the stall.
      await asked(world, async (client) => {
        const stalledCount = async () => {
          const listed = (await client.admin.listConsumers({ topic: 'unread' })).consumers;
          return listed.filter(({ waitReason }) => waitReason === WaitReason.TRANSPORT).length;
        };
        while ((await stalledCount()) < stalledStreamCount);
        await untilHeld(producers, () => client.admin.getServerInfo({}));
      });
    },
    async end(world) {
      const seen = await asked(world, async (client) => {
        const listed = (await client.admin.listConsumers({ topic: 'unread' })).consumers;
        const stalled = listed.filter(({ waitReason }) => waitReason === WaitReason.TRANSPORT);
        await client.admin.updateTopic({
          topic: { name: 'held', backlogLimit: {} },
          updateMask: { paths: ['backlog_limit'] },
        });
        return `${stalled.length} wait for TRANSPORT`;
      });
      await Promise.all(producers.map((producer) => producer.allWritten));
      await Promise.all(producers.map((producer) => producer.finish()));
      const receipted = producers.filter(({ receiptedCount }) => receiptedCount === stalledRequestCount);
      for (const connection of connections) connection.destroy();
      return `${seen}; ${receipted.length} producers went on to their end`;
    },
  };
}

const libraryRequestBytes = 16 * KiB;
const libraryRequests = 1_000;

/** A held producer and a consumer that does not read, of each library: HTTP/2 holds them, and not one library. */
function otherLibraries(): Scene {
  const unread = 'unread';
  let commands: (readonly string[])[] = [];
  let running: RunningFlowClient[] = [];
  let round = 0;
  const heldTopic = (library: number) => `held-${library}-${round}`;
  const start = (library: number, ...args: (string | number)[]) => {
    running.push(new RunningFlowClient(commands[library]!, ...args));
  };
  return {
    name: 'other-libraries',
    about: 'a held producer and a consumer that does not read, of grpc-go and of grpcio',
    turnMs: 4 * secondMs,
    isRepeatable: true,
    consumers: fast(8),
    others: 'consumers',
    stopsProducers: false,
    allowedBytes: flowClients.length * (frames + readAhead + limits.streamWindowBytes + libraryRequestBytes),
    async prepare(world) {
      commands = await Promise.all(flowClients.map((library) => library.build()));
      await asked(world, async (client) => {
        const messages = Array.from({ length: 16 }, () => 'x'.repeat(64 * KiB));
        for (let i = 0; i < 16; i++) await publish(client, unread, messages);
      });
    },
    async begin(world) {
      const { address } = world.broker;
      round++;
      running = [];
      await asked(world, async (client) => {
        for (const i of flowClients.keys()) {
          const topic = { name: heldTopic(i), maxMessages: 20, whenFull: WhenFull.BLOCK };
          await createLimitedTopic(client, topic, 's');
          start(i, 'publish', address, topic.name, libraryRequestBytes, libraryRequests);
          start(i, 'consume', address, unread, `s-${i}-${round}`, 16 * MiB);
        }
        const heldCount = async () => {
          const { producers } = await client.admin.listProducers({});
          return producers.filter(({ holdReason }) => holdReason === HoldReason.BACKLOG).length;
        };
        while ((await heldCount()) < flowClients.length);
      });
    },
    async end(world) {
      const seen = await asked(world, async (client) => {
        const stalled = await waits(client, unread, '');
        for (const i of flowClients.keys()) {
          await client.admin.deleteSubscription({ topic: heldTopic(i), name: 's' });
        }
        return stalled;
      });
      for (const client of running) client.writeLine();
      await Promise.all(running.map((client) => client.ended));
      const receipts = running.map(({ said }) => said.receipts).filter((count) => count !== undefined);
      return `${seen}; producers went on to ${receipts.join(' and ')} receipts`;
    },
  };
}

export const scenes: readonly Scene[] = [
  noTrouble,
  grantsMuch,
  neverSettles,
  oneSlow,
  slowSync('slow-disk', 'every sync takes 200 ms', 200),
  slowSync('disk-stall', 'the disk stands still', untilReleased),
  fullBacklog,
  manyStalled(),
  otherLibraries(),
];

/** A stall is as long as it is, whatever the other scenes take. */
export const stallMs = 10 * secondMs;

import { systemClock } from '../../src/base/clock.js';
import { MiB } from '../../src/base/units.js';
import { Admin } from '../../src/gen/sluice/v1/admin_pb.js';
import type { BrokerProcess } from '../../test/support/broker-process.js';
import { RawConnection } from '../../test/support/raw-grpc.js';
import { type BenchCase, type BenchSettings, withBroker, withConnection } from '../bench-case.js';
import { Holder } from '../load/holder.js';
import { count, type Row } from '../report.js';

const sizes = [0, 250, 500, 1_000];
const subscriptionsPerTopic = 2;
const consumersPerTopic = 5;
const connectionCount = 10;
/** Calls that are made at once while topics and subscriptions are created. */
const callsUnderWay = 100;
/** How long an idle broker is watched: longer than the interval of heartbeats. */
const minWatchMs = 16_000;
const probeEveryMs = 20;

export const scaleCatalog: BenchCase = {
  name: 'scale-catalog',
  about: 'up to 1,000 topics, 2,000 subscriptions, 5,000 idle consumers: memory, processor, stalls, restart',
  run: (settings) =>
    withBroker(async (broker) => {
      const rows: Row[] = [];
      const connections = await Promise.all(
        Array.from({ length: connectionCount }, () => RawConnection.connect(broker.address)),
      );
      let topicCount = 0;
      for (const size of sizes) {
        await grow(connections, topicCount, size);
        topicCount = size;
        rows.push(await watch(broker, connections[0]!, topicCount, settings));
      }
      rows.push(await restart(broker, topicCount));
      for (const connection of connections) connection.destroy();
      return rows;
    }),
};

async function grow(connections: readonly RawConnection[], from: number, to: number): Promise<void> {
  const [admin] = connections as [RawConnection];
  const topics = Array.from({ length: to - from }, (_, i) => `topic-${from + i}`);
  await each(topics, (name) => admin.unary(Admin.method.createTopic, { topic: { name, partitionCount: 1 } }));
  const names = Array.from({ length: subscriptionsPerTopic }, (_, i) => `subscription-${i}`);
  const subscriptions = topics.flatMap((topic) => names.map((name) => ({ topic, name })));
  await each(subscriptions, (subscription) => admin.unary(Admin.method.createSubscription, { subscription }));
  const consumers = topics.flatMap((topic) =>
    Array.from({ length: consumersPerTopic }, (_, i) => ({ topic, name: names[i % names.length]! })),
  );
  await each(consumers, ({ topic, name }, i) => {
    return new Holder(connections[i % connections.length]!, topic, name, 1_000).opened;
  });
}

/** Does so for each of them, some at once. */
async function each<T>(
  items: readonly T[],
  work: (item: T, index: number) => Promise<unknown>,
): Promise<void> {
  let next = 0;
  const workers = Array.from({ length: callsUnderWay }, async () => {
    for (let i = next++; i < items.length; i = next++) await work(items[i]!, i);
  });
  await Promise.all(workers);
}

async function watch(
  broker: BrokerProcess,
  connection: RawConnection,
  topicCount: number,
  { measureMs }: BenchSettings,
): Promise<Row> {
  const watchMs = Math.max(measureMs, minWatchMs);
  await settle(connection, 1_000);
  const startCpuSeconds = broker.cpuSeconds();
  await pause(watchMs);
  const cpuShare = ((broker.cpuSeconds() - startCpuSeconds) * 1000) / watchMs;
  const longestMs = await settle(connection, minWatchMs);
  const rssMiB = broker.rssBytes() / MiB;
  const subscriptionCount = topicCount * subscriptionsPerTopic;
  const consumerCount = topicCount * consumersPerTopic;
  const { consumers } = await connection.unary(Admin.method.listConsumers, {});
  if (consumers.length !== consumerCount) throw new Error(`${consumers.length} consumers`);
  return {
    name: `scale-catalog/${topicCount}-topics`,
    result: `${Math.round(rssMiB)} MiB, ${(cpuShare * 100).toFixed(2)} % of a core idle, longest answer ${longestMs.toFixed(0)} ms`,
    values: {
      topicCount,
      subscriptionCount,
      consumerCount,
      rssMiB,
      idleCpuShare: cpuShare,
      longestAnswerMs: longestMs,
    },
    check: `${count(subscriptionCount)} subscriptions, ${count(consumerCount)} consumers listed`,
  };
}

/** Asks for something small, over and over. Says how long the longest answer took. */
async function settle(connection: RawConnection, forMs: number): Promise<number> {
  const startMs = systemClock.monotonicMs();
  let longestMs = 0;
  for (let askedMs = startMs; askedMs - startMs < forMs; askedMs = systemClock.monotonicMs()) {
    await connection.unary(Admin.method.getServerInfo, {});
    longestMs = Math.max(longestMs, systemClock.monotonicMs() - askedMs);
    await pause(probeEveryMs);
  }
  return longestMs;
}

/** A measurement takes time: nothing is waited for here. */
function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    systemClock.after(ms, resolve);
  });
}

async function restart(broker: BrokerProcess, topicCount: number): Promise<Row> {
  await broker.kill();
  const startMs = systemClock.monotonicMs();
  await broker.start();
  const servingMs = systemClock.monotonicMs() - startMs;
  const listStartMs = systemClock.monotonicMs();
  const listed = await withConnection(broker.address, async (connection) => {
    let subscriptionCount = 0;
    for (let pageToken = ''; ; ) {
      const page = await connection.unary(Admin.method.listSubscriptions, { pageSize: 1_000, pageToken });
      subscriptionCount += page.subscriptions.length;
      pageToken = page.nextPageToken;
      if (pageToken === '') return subscriptionCount;
    }
  });
  const listedMs = systemClock.monotonicMs() - listStartMs;
  if (listed !== topicCount * subscriptionsPerTopic)
    throw new Error(`${listed} subscriptions after a restart`);
  return {
    name: 'scale-catalog/restart',
    result: `serving ${count(servingMs)} ms after kill -9, all subscriptions listed in ${count(listedMs)} ms`,
    values: { topicCount, servingMs, listedMs },
    check: `${count(listed)} subscriptions`,
  };
}

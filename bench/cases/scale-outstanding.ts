import { StatusCode } from '../../src/base/reasons.js';
import { hourMs, KiB, MiB } from '../../src/base/units.js';
import { Ordering } from '../../src/gen/sluice/v1/admin_pb.js';
import { Broker, PublishRequestSchema } from '../../src/gen/sluice/v1/broker_pb.js';
import { encode, RawConnection } from '../../test/support/raw-grpc.js';
import {
  assertEqual,
  type BenchCase,
  backlogCount,
  createSubscription,
  createTopic,
  storedCount,
  withBroker,
} from '../bench-case.js';
import { Holder } from '../load/holder.js';
import { runInWorker } from '../load-worker.js';
import { count, type Row } from '../report.js';
import { Sampler } from '../sampler.js';

const topic = 'held';
const subscription = 'workers';
const furtherMessages = 300_000;
const heldCounts = [100, 1_000, 10_000, 100_000];
const messagesPerRequest = 1_000;
const settlementsPerAcknowledge = 10_000;

interface Variant {
  readonly name: string;
  readonly ordering: Ordering;
  readonly hasKeys: boolean;
  /** Every other message has been settled: what is out lies in as many pieces as can be. */
  readonly isSpread: boolean;
}

const variants: readonly Variant[] = [
  { name: 'none', ordering: Ordering.NONE, hasKeys: false, isSpread: false },
  { name: 'none-spread', ordering: Ordering.NONE, hasKeys: false, isSpread: true },
  { name: 'key', ordering: Ordering.KEY, hasKeys: true, isSpread: false },
  { name: 'key-spread', ordering: Ordering.KEY, hasKeys: true, isSpread: true },
];

export const scaleOutstanding: BenchCase = {
  name: 'scale-outstanding',
  about:
    'one consumer holds up to 100,000 messages: what delivering and settling one more costs, NONE and KEY',
  run: async () => {
    const rows: Row[] = [];
    for (const variant of variants) {
      for (const heldCount of heldCounts) rows.push(await measure(variant, heldCount));
    }
    return rows;
  },
};

function measure({ name, ordering, hasKeys, isSpread }: Variant, heldCount: number): Promise<Row> {
  return withBroker(async (broker) => {
    const { address } = broker;
    await createTopic(address, { name: topic, partitionCount: 1 });
    const ackDeadline = { seconds: BigInt(hourMs / 1000) };
    await createSubscription(address, { topic, name: subscription, ordering, ackDeadline });

    const takenCount = isSpread ? 2 * heldCount : heldCount;
    const connection = await RawConnection.connect(address, { streamWindowBytes: 64 * MiB });
    await publishHeld(connection, takenCount, hasKeys);
    const holder = new Holder(connection, topic, subscription, takenCount);
    await holder.isFull;
    if (isSpread) await settleEveryOther(connection, holder);
    // Their keys are not those of what is held, behind which they would have to wait.
    await publishFurther(address, hasKeys ? furtherMessages : 0, takenCount);

    const stored = await storedCount(address, topic);
    const messageCount = stored - takenCount;
    const sampler = new Sampler(broker);
    const { elapsedMs, cpuShare } = await runInWorker('deliver', {
      address,
      topic,
      subscription,
      partitionCount: 1,
      messageCount,
      storedCount: stored,
      brokerPid: broker.pid,
      keyCount: 0,
      consumers: 1,
      outstandingMessages: 1_000,
      settlementsPerRequest: 1_000,
      isShuffled: true,
    });
    const usage = sampler.stop();
    assertEqual('backlog', await backlogCount(address, topic, subscription), heldCount);
    connection.destroy();
    const messagesPerSecond = (messageCount * 1000) / elapsedMs;
    const brokerMicrosPerMessage = (usage.cpuSeconds * 1e6) / messageCount;
    return {
      name: `scale-outstanding/${name}-${heldCount}`,
      result: `${count(messagesPerSecond)} messages/s, ${brokerMicrosPerMessage.toFixed(2)} µs each`,
      values: { heldCount, messagesPerSecond, brokerMicrosPerMessage },
      check: `${count(messageCount)} once; backlog ${count(heldCount)}`,
      usage,
      loadCpuShare: cpuShare,
    };
  });
}

/** Exactly so many messages, with a key of its own each or with none. */
function publishHeld(connection: RawConnection, messageCount: number, hasKeys: boolean): Promise<void> {
  const payload = new Uint8Array(100);
  return new Promise((resolve, reject) => {
    const stream = connection.open(Broker.method.publish, {
      onMessage: () => {},
      onEnd: (status) => {
        if (status.code === StatusCode.OK) resolve();
        else reject(new Error(`publishing ended: ${status.code} ${status.message}`));
      },
    });
    for (let first = 0; first < messageCount; first += messagesPerRequest) {
      const length = Math.min(messagesPerRequest, messageCount - first);
      const messages = Array.from({ length }, (_, i) => ({
        key: Buffer.from(hasKeys ? `key-${first + i}` : ''),
        payload,
      }));
      stream.write(encode(PublishRequestSchema, { topic, messages }));
    }
    stream.end();
  });
}

async function publishFurther(address: string, keyCount: number, firstKey: number): Promise<void> {
  await runInWorker('publish', {
    address,
    shape: {
      topic,
      minPayloadBytes: 100,
      maxPayloadBytes: 100,
      requestBytes: 16 * KiB,
      keyCount,
      firstKey,
      poolRequests: 256,
      seed: 1,
    },
    connections: 1,
    streams: 1,
    requestsUnderWay: 16,
    warmupMs: 0,
    until: { kind: 'messages', count: furtherMessages },
  });
}

/** The credit stays used up: it becomes what is still held. */
async function settleEveryOther(connection: RawConnection, { held, opened }: Holder): Promise<void> {
  const sessionId = await opened;
  const flowControl = { maxOutstandingMessages: held.length / 2 };
  await connection.unary(Broker.method.updateFlowControl, { sessionId, flowControl });
  const settlements = held
    .filter((_, i) => i % 2 === 1)
    .map(({ partition, offset }) => ({
      offsets: { partition, firstOffset: BigInt(offset), lastOffset: BigInt(offset) },
      outcome: { case: 'ack' as const, value: {} },
    }));
  for (let i = 0; i < settlements.length; i += settlementsPerAcknowledge) {
    const some = settlements.slice(i, i + settlementsPerAcknowledge);
    await connection.unary(Broker.method.acknowledge, { sessionId, settlements: some });
  }
}

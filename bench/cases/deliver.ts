import { KiB } from '../../src/base/units.js';
import { Ordering } from '../../src/gen/sluice/v1/admin_pb.js';
import {
  assertEqual,
  type BenchSettings,
  backlogCount,
  caseOf,
  createSubscription,
  createTopic,
  storedCount,
  withBroker,
} from '../bench-case.js';
import { runInWorker } from '../load-worker.js';
import { count, microsPerMessage, type Row } from '../report.js';
import { Sampler } from '../sampler.js';

const topic = 'backlog';
const subscription = 'workers';
const consumers = 8;
const outstandingMessages = 10_000;
const settlementsPerRequest = 1_000;

interface Variant {
  readonly name: string;
  readonly ordering: Ordering;
  readonly partitionCount: number;
  readonly keyCount: number;
  readonly isShuffled: boolean;
}

const none = { ordering: Ordering.NONE, keyCount: 0 };
const key = { ordering: Ordering.KEY, keyCount: 10_000 };

export const deliverNone = caseOf(
  {
    name: 'deliver-none',
    about: 'ordering NONE, 8 consumers work through a backlog: Consume, a settlement for each message',
  },
  [
    { name: 'deliver-none/8-partitions', ...none, partitionCount: 8, isShuffled: false },
    { name: 'deliver-none/8-partitions-shuffled', ...none, partitionCount: 8, isShuffled: true },
    { name: 'deliver-none/1-partition', ...none, partitionCount: 1, isShuffled: false },
  ],
  measure,
);

export const deliverKey = caseOf(
  {
    name: 'deliver-key',
    about: 'ordering KEY, 10,000 keys, 8 consumers work through a backlog: a settlement for each message',
  },
  [
    { name: 'deliver-key/8-partitions', ...key, partitionCount: 8, isShuffled: false },
    { name: 'deliver-key/8-partitions-shuffled', ...key, partitionCount: 8, isShuffled: true },
    { name: 'deliver-key/1-partition', ...key, partitionCount: 1, isShuffled: false },
  ],
  measure,
);

function measure(variant: Variant, settings: BenchSettings): Promise<Row> {
  const { name, ordering, partitionCount, keyCount, isShuffled } = variant;
  return withBroker(async (broker) => {
    const { address } = broker;
    await createTopic(address, { name: topic, partitionCount });
    await createSubscription(address, { topic, name: subscription, ordering });
    const { messageCount } = await runInWorker('publish', {
      address,
      shape: {
        topic,
        minPayloadBytes: 100,
        maxPayloadBytes: 100,
        requestBytes: 64 * KiB,
        keyCount,
        poolRequests: 256,
        seed: 1,
      },
      connections: 1,
      streams: 1,
      requestsUnderWay: 16,
      warmupMs: 0,
      until: { kind: 'messages', count: settings.deliverMessages },
    });
    assertEqual('stored messages', await storedCount(address, topic), messageCount);
    const sampler = new Sampler(broker);
    const result = await runInWorker('deliver', {
      address,
      topic,
      subscription,
      partitionCount,
      messageCount,
      storedCount: messageCount,
      brokerPid: broker.pid,
      keyCount,
      consumers,
      outstandingMessages,
      settlementsPerRequest,
      isShuffled,
    });
    const usage = sampler.stop();
    assertEqual('backlog', await backlogCount(address, topic, subscription), 0);
    const messagesPerSecond = (messageCount * 1000) / result.elapsedMs;
    const brokerMicrosPerMessage = microsPerMessage(usage, messageCount);
    const leastShare = Math.min(...result.messageCounts) / messageCount;
    return {
      name,
      result: `${count(messagesPerSecond)} messages/s, ${brokerMicrosPerMessage.toFixed(2)} µs each`,
      values: { messagesPerSecond, brokerMicrosPerMessage, messageCount, leastShare },
      check: `${count(messageCount)} once${keyCount > 0 ? ', in order of key' : ''}; backlog 0`,
      usage,
      loadCpuShare: result.cpuShare,
    };
  }, settings);
}

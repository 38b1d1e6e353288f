import { KiB } from '../../src/base/units.js';
import { Ordering } from '../../src/gen/sluice/v1/admin_pb.js';
import {
  assertEqual,
  type BenchCase,
  backlogCount,
  createSubscription,
  createTopic,
  withBroker,
} from '../bench-case.js';
import { runInWorker } from '../load-worker.js';
import { count, type Row } from '../report.js';
import { Sampler } from '../sampler.js';

const topic = 'backlog';
const subscription = 'worker';

export const scaleBacklog: BenchCase = {
  name: 'scale-backlog',
  about: 'ordering NONE, one consumer works through a long backlog: the speed of each tenth of it',
  run: ({ backlogMessages }) =>
    withBroker(async (broker) => {
      const { address } = broker;
      await createTopic(address, { name: topic, partitionCount: 1 });
      await createSubscription(address, { topic, name: subscription, ordering: Ordering.NONE });
      const { messageCount } = await runInWorker('publish', {
        address,
        shape: {
          topic,
          minPayloadBytes: 100,
          maxPayloadBytes: 100,
          requestBytes: 64 * KiB,
          keyCount: 0,
          poolRequests: 256,
          seed: 1,
        },
        connections: 1,
        streams: 1,
        requestsUnderWay: 16,
        warmupMs: 0,
        until: { kind: 'messages', count: backlogMessages },
      });
      const sampler = new Sampler(broker);
      const { tenths, cpuShare } = await runInWorker('deliver', {
        address,
        topic,
        subscription,
        partitionCount: 1,
        messageCount,
        storedCount: messageCount,
        brokerPid: broker.pid,
        keyCount: 0,
        consumers: 1,
        outstandingMessages: 10_000,
        settlementsPerRequest: 1_000,
        isShuffled: false,
      });
      const usage = sampler.stop();
      assertEqual('backlog', await backlogCount(address, topic, subscription), 0);
      const rows = tenths.slice(1).map((end, i): Row => {
        const start = tenths[i]!;
        const tenthCount = messageCount / 10;
        const messagesPerSecond = (tenthCount * 1000) / (end.elapsedMs - start.elapsedMs);
        const brokerMicrosPerMessage = ((end.brokerCpuSeconds - start.brokerCpuSeconds) * 1e6) / tenthCount;
        return {
          name: `scale-backlog/tenth-${i + 1}`,
          result: `${count(messagesPerSecond)} messages/s, ${brokerMicrosPerMessage.toFixed(2)} µs each`,
          values: { tenth: i + 1, messagesPerSecond, brokerMicrosPerMessage },
          check: `of ${count(messageCount)}, each once; backlog 0`,
          usage,
          loadCpuShare: cpuShare,
        };
      });
      return rows;
    }),
};

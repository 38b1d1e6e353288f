import { KiB } from '../../src/base/units.js';
import {
  assertEqual,
  type BenchCase,
  backlogCount,
  createSubscription,
  createTopic,
  storedCount,
  withBroker,
} from '../bench-case.js';
import { runInWorker } from '../load-worker.js';
import { count, microsPerMessage } from '../report.js';
import { Sampler } from '../sampler.js';

const topic = 'backlog';
const subscription = 'reader';

export const replay: BenchCase = {
  name: 'replay',
  about: 'one consumer works through a backlog of 100-byte messages: Subscribe, Acknowledge of ranges',
  run: (settings) =>
    withBroker(async (broker) => {
      const { address } = broker;
      const shape = {
        topic,
        minPayloadBytes: 100,
        maxPayloadBytes: 100,
        requestBytes: 64 * KiB,
        keyCount: 0,
        poolRequests: 256,
        seed: 1,
      };
      await createTopic(address, { name: topic, partitionCount: 1 });
      await createSubscription(address, { topic, name: subscription });
      const published = await runInWorker('publish', {
        address,
        shape,
        connections: 1,
        streams: 1,
        requestsUnderWay: 16,
        warmupMs: 0,
        until: { kind: 'messages', count: settings.replayMessages },
      });
      const { messageCount } = published;
      assertEqual('stored messages', await storedCount(address, topic), messageCount);
      // What is measured is reading from the disk's files, not from the memory of the writing process.
      await broker.restart();
      const sampler = new Sampler(broker);
      const result = await runInWorker('replay', {
        address: broker.address,
        subscription,
        shape,
        messageCount,
      });
      const usage = sampler.stop();
      assertEqual('delivered messages', result.messageCount, messageCount);
      assertEqual('backlog', await backlogCount(broker.address, topic, subscription), 0);
      const messagesPerSecond = (result.messageCount * 1000) / result.elapsedMs;
      return [
        {
          name: 'replay',
          result: `${count(messagesPerSecond)} messages/s`,
          values: {
            messagesPerSecond,
            messageCount,
            elapsedMs: result.elapsedMs,
            brokerMicrosPerMessage: microsPerMessage(usage, messageCount),
          },
          check: `${count(messageCount)} once, in order, byte for byte; backlog 0`,
          usage,
          loadCpuShare: result.cpuShare,
        },
      ];
    }, settings),
};

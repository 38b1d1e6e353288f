import {
  assertEqual,
  type BenchCase,
  backlogCount,
  createSubscription,
  createTopic,
  storedCount,
  warmupMs,
  withBroker,
} from '../bench-case.js';
import type { LatencySummary } from '../load/latency.js';
import { runInWorker } from '../load-worker.js';
import { count, microsPerMessage, type Row } from '../report.js';
import { Sampler } from '../sampler.js';

const topic = 'steady';
const subscription = 'reader';
const messagesPerSecond = 10_000;
const partitionCount = 8;

export const latency: BenchCase = {
  name: 'latency',
  about: 'a steady 10,000 messages/s, one a request: published, delivered, acknowledged; synced',
  run: (settings) =>
    withBroker(async (broker) => {
      const { address } = broker;
      await createTopic(address, { name: topic, partitionCount });
      await createSubscription(address, { topic, name: subscription });
      const sampler = new Sampler(broker);
      const result = await runInWorker('latency', {
        address,
        topic,
        subscription,
        messagesPerSecond,
        payloadBytes: 100,
        streams: 8,
        warmupMs,
        measureMs: settings.measureMs,
        seed: 1,
      });
      const usage = sampler.stop();
      assertEqual('stored messages', await storedCount(address, topic), result.messageCount);
      assertEqual('backlog', await backlogCount(address, topic, subscription), 0);
      const common = { usage, loadCpuShare: result.cpuShare };
      const brokerMicrosPerMessage = microsPerMessage(usage, result.messageCount);
      const row = (what: string, summary: LatencySummary, check: string): Row => ({
        name: `latency/${what}`,
        result: `p50 ${ms(summary.p50)}  p99 ${ms(summary.p99)}  p99.9 ${ms(summary.p999)}  max ${ms(summary.max)} ms`,
        values: {
          p50Ms: summary.p50,
          p99Ms: summary.p99,
          p999Ms: summary.p999,
          maxMs: summary.max,
          brokerMicrosPerMessage,
        },
        check,
        ...common,
      });
      const total = count(result.messageCount);
      return [
        row('generator-lateness', result.sending, 'included in the rows below'),
        row('receipted', result.receipted, `${total} sent = stored`),
        row('delivered', result.delivered, `${total}, each once`),
        row('acknowledged', result.settled, `${total}, backlog 0`),
      ];
    }, settings),
};

function ms(value: number): string {
  return value.toFixed(2);
}

import { KiB, MiB } from '../../src/base/units.js';
import {
  assertEqual,
  type BenchSettings,
  caseOf,
  createTopic,
  storedCount,
  warmupMs,
  withBroker,
} from '../bench-case.js';
import { runInWorker } from '../load-worker.js';
import { count, microsPerMessage, type Row } from '../report.js';
import { Sampler } from '../sampler.js';

const topic = 'load';
const payloadBytes = 100;

interface Variant {
  readonly name: string;
  readonly partitionCount: number;
  readonly keyCount: number;
  readonly requestBytes: number;
  readonly poolRequests: number;
  readonly connections: number;
  readonly streams: number;
  readonly requestsUnderWay: number;
}

const batched = {
  requestBytes: 64 * KiB,
  poolRequests: 256,
  connections: 2,
  streams: 4,
  requestsUnderWay: 8,
};
const single = { requestBytes: 0, poolRequests: 8_192, connections: 4, streams: 64, requestsUnderWay: 32 };

export const publishBatched = caseOf(
  {
    name: 'publish-batched',
    about: 'PublishStream, 100-byte messages in 64-KiB requests, synced before the receipt',
  },
  [
    { name: 'publish-batched/1-partition', partitionCount: 1, keyCount: 0, ...batched },
    { name: 'publish-batched/8-partitions', partitionCount: 8, keyCount: 0, ...batched },
    { name: 'publish-batched/8-partitions-keyed', partitionCount: 8, keyCount: 10_000, ...batched },
  ],
  measure,
);

export const publishSingle = caseOf(
  {
    name: 'publish-single',
    about: 'PublishStream, one 100-byte message a request, 64 streams, synced before the receipt',
  },
  [
    { name: 'publish-single/1-partition', partitionCount: 1, keyCount: 0, ...single },
    { name: 'publish-single/8-partitions-keyed', partitionCount: 8, keyCount: 10_000, ...single },
  ],
  measure,
);

function measure(variant: Variant, settings: BenchSettings): Promise<Row> {
  const { name, partitionCount, keyCount, requestBytes, poolRequests } = variant;
  return withBroker(async (broker) => {
    const { address } = broker;
    await createTopic(address, { name: topic, partitionCount });
    const sampler = new Sampler(broker);
    const result = await runInWorker('publish', {
      address,
      shape: {
        topic,
        minPayloadBytes: payloadBytes,
        maxPayloadBytes: payloadBytes,
        requestBytes,
        keyCount,
        poolRequests,
        seed: 1,
      },
      connections: variant.connections,
      streams: variant.streams,
      requestsUnderWay: variant.requestsUnderWay,
      warmupMs,
      until: { kind: 'time', measureMs: settings.measureMs },
    });
    const usage = sampler.stop();
    assertEqual('stored messages', await storedCount(address, topic), result.messageCount);
    const mibPerSecond = result.byteRate / MiB;
    return {
      name,
      result: `${count(result.messageRate)} messages/s, ${mibPerSecond.toFixed(1)} MiB/s`,
      values: {
        messagesPerSecond: result.messageRate,
        mibPerSecond,
        brokerMicrosPerMessage: microsPerMessage(usage, result.messageCount),
      },
      check: `${count(result.messageCount)} receipted = stored`,
      usage,
      loadCpuShare: result.cpuShare,
    };
  }, settings);
}

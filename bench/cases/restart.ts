import { systemClock } from '../../src/base/clock.js';
import { GiB, KiB, MiB } from '../../src/base/units.js';
import { type BenchCase, createTopic, storedCount, withBroker } from '../bench-case.js';
import { runInWorker } from '../load-worker.js';
import { count } from '../report.js';
import { Sampler } from '../sampler.js';

const topic = 'large';
const partitionCount = 8;

export const restart: BenchCase = {
  name: 'restart',
  about: 'kill -9 under load with much stored: time until the broker serves again (page cache warm)',
  run: ({ restartBytes }) =>
    withBroker(async (broker) => {
      const shape = {
        topic,
        minPayloadBytes: 1 * KiB,
        maxPayloadBytes: 64 * KiB,
        requestBytes: 1 * MiB,
        keyCount: 0,
        poolRequests: 128,
        seed: 1,
      };
      const load = { shape, connections: 2, streams: 4, requestsUnderWay: 4 };
      const { address } = broker;
      await createTopic(address, { name: topic, partitionCount });
      const fillSampler = new Sampler(broker);
      const fill = await runInWorker('publish', {
        address,
        ...load,
        warmupMs: 0,
        until: { kind: 'bytes', count: restartBytes },
      });
      const fillUsage = fillSampler.stop();

      // Killed when the load is on: receipts have been coming for a second.
      const killed = await runInWorker(
        'publish',
        { address, ...load, warmupMs: 1_000, until: { kind: 'broken' } },
        () => void broker.kill(),
      );
      await broker.exited;
      const receiptedCount = fill.messageCount + killed.messageCount;

      const startMs = systemClock.monotonicMs();
      await broker.start();
      const servingMs = systemClock.monotonicMs() - startMs;
      const sampler = new Sampler(broker);
      const stored = await storedCount(broker.address, topic);
      const answeredMs = systemClock.monotonicMs() - startMs;
      const usage = sampler.stop();
      if (stored < receiptedCount) throw new Error(`${stored} stored of ${receiptedCount} receipted`);

      const storedGiB = (fill.messageBytes + killed.messageBytes) / GiB;
      return [
        {
          name: 'restart/fill',
          result: `${count(fill.messageRate)} messages/s, ${(fill.byteRate / MiB).toFixed(1)} MiB/s`,
          values: { messagesPerSecond: fill.messageRate, mibPerSecond: fill.byteRate / MiB },
          check: `${storedGiB.toFixed(1)} GiB receipted`,
          usage: fillUsage,
          loadCpuShare: fill.cpuShare,
        },
        {
          name: 'restart',
          result: `serving after ${count(servingMs)} ms, GetTopic answered after ${count(answeredMs)} ms`,
          values: { servingMs, answeredMs, storedGiB },
          check: `${count(receiptedCount)} receipted <= ${count(stored)} stored`,
          usage,
        },
      ];
    }),
};

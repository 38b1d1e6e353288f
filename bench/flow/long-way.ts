import { KiB, MiB } from '../../src/base/units.js';
import { BrokerProcess } from '../../test/support/broker-process.js';
import { startDelayingProxy } from '../../test/support/delaying-proxy.js';
import { assertEqual, createTopic, storedCount } from '../bench-case.js';
import { runInWorker } from '../load-worker.js';
import type { Row } from '../report.js';

const roundTripMs = 50;
const topic = 'far';

/** One stream over a round trip of 50 ms: with the window that HTTP/2 begins with, and with ours. */
export async function measureLongWay(measureMs: number): Promise<Row> {
  const narrow = await throughput(['--stream-window-bytes', `${64 * KiB}`], measureMs);
  const wide = await throughput([], measureMs);
  const times = wide / narrow;
  return {
    name: 'long-way',
    result: `one stream over ${roundTripMs} ms: ${(narrow / MiB).toFixed(2)} MiB/s with 64 KiB, ${(wide / MiB).toFixed(2)} with 1 MiB (${times.toFixed(1)} times)`,
    values: { narrowMibPerSecond: narrow / MiB, wideMibPerSecond: wide / MiB, times },
    check: `receipted = stored${times < 10 ? '; MISSED: ten times' : ''}`,
  };
}

async function throughput(args: readonly string[], measureMs: number): Promise<number> {
  const broker = await BrokerProcess.start({ args });
  const proxy = await startDelayingProxy(broker.address, roundTripMs);
  try {
    await createTopic(broker.address, { name: topic });
    const { byteRate, messageCount } = await runInWorker('publish', {
      address: proxy.address,
      shape: {
        topic,
        minPayloadBytes: 1_000,
        maxPayloadBytes: 1_000,
        requestBytes: 64 * KiB,
        keyCount: 0,
        poolRequests: 64,
        seed: 1,
      },
      connections: 1,
      streams: 1,
      requestsUnderWay: 64,
      warmupMs: 1_000,
      until: { kind: 'time', measureMs },
    });
    assertEqual('stored messages', await storedCount(broker.address, topic), messageCount);
    return byteRate;
  } finally {
    proxy.close();
    await broker.dispose();
  }
}

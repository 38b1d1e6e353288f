import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { systemClock } from '../src/base/clock.js';
import { limits } from '../src/base/limits.js';
import { silentLogger } from '../src/base/logger.js';
import { divideBudget } from '../src/base/memory-budget.js';
import { KiB, secondMs } from '../src/base/units.js';
import { messagesTag } from '../src/envelope/fields.js';
import { openStorage } from '../src/storage/storage.js';
import type { Append, Storage } from '../src/storage/types.js';

/**
 * The store without a broker around it: what submitting and reading back can reach. Prints a line of JSON for
 * each case. `node dist/bench/storage.js [seconds] [topics]`
 */
const durationMs = Number(process.argv[2] ?? 10) * secondMs;
const topicCount = Number(process.argv[3] ?? 1);
const partitionCount = limits.maxPartitionCount;

let onRoom = (): void => {};

async function open(directory: string): Promise<Storage> {
  const storage = await openStorage(
    {
      directory,
      maxPartitionCount: partitionCount,
      acceptDataLoss: false,
      minFreeDiskBytes: 0,
      tailBytes: limits.tailBytes,
      writerQueueBytes: limits.writerQueueBytes,
      concurrentReads: limits.concurrentReads,
      readAheadBytes: divideBudget(limits).readAheadBytes,
    },
    { clock: systemClock, logger: silentLogger },
  );
  storage.listen({ grown() {}, room: () => onRoom() });
  void storage.failed.then((error) => {
    throw error;
  });
  return storage;
}

/** Half noise, half text: about what JSON compresses to. */
function makeAppend(topicId: number, partition: number, messageCount: number, messageBytes: number): Append {
  const header = messageBytes < 128 ? 2 : 3;
  const chunk = Buffer.alloc(messageCount * (header + messageBytes), 'payload ');
  for (let at = 0; at < chunk.length; at += header + messageBytes) {
    chunk[at] = messagesTag;
    if (header === 2) chunk[at + 1] = messageBytes;
    else chunk.writeUInt16LE(((messageBytes >> 7) << 8) | 0x80 | (messageBytes & 0x7f), at + 1);
    for (let index = 0; index < messageBytes / 2; index++) {
      chunk[at + header + index] = (Math.imul(at + index, 0x9e3779b1) >>> 24) & 0xff;
    }
  }
  return {
    kind: 'append',
    topicId,
    partition,
    producerId: '',
    chunks: [chunk],
    count: messageCount,
    byteLength: chunk.length,
  };
}

async function memoryMiB(): Promise<{ now: number; peak: number }> {
  const status = await readFile('/proc/self/status', 'utf8');
  const read = (name: string): number => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1] ?? 0);
  return { now: Math.round(read('VmRSS') / 1024), peak: Math.round(read('VmHWM') / 1024) };
}

interface WriteCase {
  readonly name: string;
  readonly messageCount: number;
  readonly messageBytes: number;
  /** Transactions that wait for their commit; 0: as many as there is room for. */
  readonly outstanding: number;
}

async function measureWrites(storage: Storage, topicIds: readonly number[], test: WriteCase): Promise<void> {
  const appends = topicIds.flatMap((topicId) =>
    Array.from({ length: partitionCount }, (_, partition) =>
      makeAppend(topicId, partition, test.messageCount, test.messageBytes),
    ),
  );
  const waits: number[] = [];
  const delay = monitorEventLoopDelay({ resolution: 5 });
  delay.enable();
  const startMs = systemClock.monotonicMs();
  let next = 0;
  let committed = 0;
  let outstanding = 0;
  await new Promise<void>((resolve) => {
    const submit = (): void => {
      const isOver = systemClock.monotonicMs() - startMs >= durationMs;
      if (isOver && outstanding === 0) resolve();
      if (isOver) return;
      while (test.outstanding === 0 ? storage.hasRoom : outstanding < test.outstanding) {
        const submittedMs = systemClock.monotonicMs();
        outstanding++;
        storage.submit({
          durability: 'synced',
          changes: [appends[next++ % appends.length]!],
          onCommitted() {
            outstanding--;
            committed++;
            waits.push(systemClock.monotonicMs() - submittedMs);
            if (test.outstanding > 0 || outstanding === 0) submit();
          },
        });
      }
    };
    onRoom = submit;
    submit();
  });
  delay.disable();
  const seconds = (systemClock.monotonicMs() - startMs) / secondMs;
  waits.sort((a, b) => a - b);
  const memory = await memoryMiB();
  report({
    case: test.name,
    topics: topicCount,
    megabytesPerSecond: round((committed * appends[0]!.byteLength) / seconds / 1e6),
    messagesPerSecond: round((committed * test.messageCount) / seconds),
    commitMedianMs: round(waits[waits.length >> 1] ?? 0, 2),
    commitP99Ms: round(waits[Math.floor(waits.length * 0.99)] ?? 0, 2),
    loopDelayP99Ms: round(delay.percentile(99) / 1e6, 1),
    loopDelayMaxMs: round(delay.max / 1e6, 1),
    memoryMiB: memory.now,
    memoryPeakMiB: memory.peak,
  });
}

async function measureReads(storage: Storage, topicId: number): Promise<void> {
  const delay = monitorEventLoopDelay({ resolution: 5 });
  delay.enable();
  const startMs = systemClock.monotonicMs();
  let bytes = 0;
  let count = 0;
  await Promise.all(
    Array.from({ length: partitionCount }, async (_, partition) => {
      const reader = storage.openReader(topicId, partition);
      const { endOffset } = storage.extent(topicId, partition);
      for (let at = 0; at < endOffset && systemClock.monotonicMs() - startMs < durationMs; ) {
        for (const run of await reader.read(at, 256 * KiB)) {
          bytes += run.messages.length;
          count += run.count;
          at = run.firstOffset + run.count;
        }
      }
      reader.close();
    }),
  );
  delay.disable();
  const seconds = (systemClock.monotonicMs() - startMs) / secondMs;
  report({
    case: 'read from the disk',
    megabytesPerSecond: round(bytes / seconds / 1e6),
    messagesPerSecond: round(count / seconds),
    loopDelayP99Ms: round(delay.percentile(99) / 1e6, 1),
    loopDelayMaxMs: round(delay.max / 1e6, 1),
    memoryMiB: (await memoryMiB()).now,
  });
}

function round(value: number, digits = 0): number {
  return Number(value.toFixed(digits));
}

function report(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

const directory = await mkdtemp(join(tmpdir(), 'sluice-bench-'));
try {
  let storage = await open(directory);
  const topicIds = Array.from({ length: topicCount }, () => storage.nextTopicId());
  await new Promise<void>((resolve) => {
    const config = {
      partitionCount,
      retention: { maxAgeMs: 0, maxBytes: 0, untilAcknowledged: false, dropUnacknowledged: false },
      backlogLimit: { maxBytes: 0, maxMessages: 0, whenFull: 'block' },
      durability: undefined,
      createTimeMs: 0,
    } as const;
    storage.submit({
      durability: 'synced',
      changes: topicIds.map((topicId) => ({
        kind: 'topic',
        topicId,
        config: { name: `topic-${topicId}`, ...config },
      })),
      onCommitted: resolve,
    });
  });
  const cases: readonly WriteCase[] = [
    { name: '1 producer, 100 B, one at a time', messageCount: 1, messageBytes: 100, outstanding: 1 },
    { name: '100 producers, 100 B, one at a time', messageCount: 1, messageBytes: 100, outstanding: 100 },
    { name: '64 KiB batches of 1 KiB', messageCount: 64, messageBytes: 1_021, outstanding: 0 },
    { name: '64 KiB batches of 100 B', messageCount: 640, messageBytes: 100, outstanding: 0 },
  ];
  for (const test of cases) await measureWrites(storage, topicIds, test);
  await storage.close();
  const startMs = systemClock.monotonicMs();
  storage = await open(directory);
  report({ case: 'open', milliseconds: round(systemClock.monotonicMs() - startMs) });
  await measureReads(storage, topicIds[0]!);
  await storage.close();
} finally {
  await rm(directory, { recursive: true });
}

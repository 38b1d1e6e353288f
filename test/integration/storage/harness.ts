import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Clock, systemClock, type Timer } from '../../../src/base/clock.js';
import { silentLogger } from '../../../src/base/logger.js';
import type { SubscriptionConfig, TopicConfig } from '../../../src/base/model.js';
import { MiB } from '../../../src/base/units.js';
import { messagesTag } from '../../../src/envelope/fields.js';
import type { StorageServices } from '../../../src/storage/services.js';
import { openStorage } from '../../../src/storage/storage.js';
import type {
  Append,
  LogReader,
  Storage,
  StorageOptions,
  StoredRun,
  Transaction,
} from '../../../src/storage/types.js';
import { type ChangeLists, changesOf } from '../../support/changes.js';

/** A store in a directory of its own, with everything that it calls back. */
export interface Harness {
  readonly directory: string;
  storage: Storage;
  /** `grown` and `room` as they came, `topic/partition:end`. */
  readonly events: string[];
  readonly failures: Error[];
  open(options?: Partial<StorageOptions>): Promise<Storage>;
  reopen(options?: Partial<StorageOptions>): Promise<Storage>;
  close(): Promise<void>;
}

export const defaultOptions = {
  maxPartitionCount: 4,
  acceptDataLoss: false,
  minFreeDiskBytes: 0,
  tailBytes: 64 * MiB,
  writerQueueBytes: 16 * MiB,
  concurrentReads: 8,
  readAheadBytes: 64 * MiB,
};

/** Time that stands still. */
export class VirtualWall implements Clock {
  nowMs: number;
  #timers: (() => void)[] = [];

  constructor(nowMs: number) {
    this.nowMs = nowMs;
  }

  wallMs(): number {
    return this.nowMs;
  }

  monotonicMs(): number {
    return this.nowMs;
  }

  after(_delayMs: number, wake: () => void): Timer {
    this.#timers.push(wake);
    return {
      cancel: () => {
        this.#timers = this.#timers.filter((timer) => timer !== wake);
      },
    };
  }

  /** Every timer that is set now. */
  fire(): void {
    for (const wake of this.#timers.splice(0)) wake();
  }
}

const opened: Harness[] = [];

export async function makeDirectory(): Promise<string> {
  return await mkdtemp(join(tmpdir(), 'sluice-storage-'));
}

export async function createHarness(
  options: Partial<StorageOptions> = {},
  clock: Clock = systemClock,
  services: Pick<StorageServices, 'roundLog'> = {},
): Promise<Harness> {
  const directory = await makeDirectory();
  const events: string[] = [];
  const failures: Error[] = [];
  const open = async (changed: Partial<StorageOptions> = {}): Promise<Storage> => {
    const listener = {
      grown: (topicId: number, partition: number, endOffset: number) => {
        events.push(`${topicId}/${partition}:${endOffset}`);
      },
      room: () => void events.push('room'),
    };
    harness.storage = await openStorage(
      {
        ...defaultOptions,
        directory,
        ...options,
        ...changed,
      },
      { clock, logger: silentLogger, ...services },
    );
    harness.storage.listen(listener);
    void harness.storage.failed.then((error) => failures.push(error));
    return harness.storage;
  };
  const harness: Harness = {
    directory,
    storage: undefined as unknown as Storage,
    events,
    failures,
    open,
    async reopen(changed) {
      await harness.storage.close();
      return await open(changed);
    },
    async close() {
      await harness.storage.close();
      await rm(directory, { recursive: true });
    },
  };
  await open();
  opened.push(harness);
  return harness;
}

/** A store without a listener. */
export async function openIn(
  directory: string,
  options: Partial<StorageOptions> = {},
  failed: (error: Error) => void = () => {},
): Promise<Storage> {
  const storage = await openStorage(
    { ...defaultOptions, directory, ...options },
    { clock: systemClock, logger: silentLogger },
  );
  void storage.failed.then(failed);
  return storage;
}

/** For `afterEach`. */
export async function closeAll(): Promise<void> {
  for (const harness of opened.splice(0)) await harness.close();
}

export function topicConfig(name: string, partitionCount = 1): TopicConfig {
  return {
    name,
    partitionCount,
    retention: { maxAgeMs: 0, maxBytes: 0, untilAcknowledged: false, dropUnacknowledged: false },
    backlogLimit: { maxBytes: 0, maxMessages: 0, whenFull: 'block' },
    durability: undefined,
    createTimeMs: 1_700_000_000_000,
  };
}

export function subscriptionConfig(topic: string, name: string): SubscriptionConfig {
  return {
    topic,
    name,
    ordering: 'key',
    ackDeadlineMs: 30_000,
    minBackoffMs: 100,
    maxBackoffMs: 60_000,
    deadLetter: { maxAttempts: 10, topic: '', isDisabled: false },
    createTimeMs: 1_700_000_000_000,
  };
}

/** One encoded `messages` field; a payload is all that the store cares for. */
export function entry(payload: Uint8Array | string): Buffer {
  const bytes = Buffer.from(payload);
  const length: number[] = [];
  let rest = bytes.length;
  do {
    const byte = rest % 128;
    rest = Math.floor(rest / 128);
    length.push(rest > 0 ? byte | 0x80 : byte);
  } while (rest > 0);
  return Buffer.concat([Buffer.of(messagesTag, ...length), bytes]);
}

export function append(
  topicId: number,
  partition: number,
  payloads: readonly (Uint8Array | string)[],
  producerId = '',
): Append {
  const chunks = payloads.map(entry);
  const byteLength = chunks.reduce((bytes, chunk) => bytes + chunk.length, 0);
  return { kind: 'append', topicId, partition, producerId, chunks, count: payloads.length, byteLength };
}

/** Resolves with the first offsets when the transaction is committed. */
export function commit(
  storage: Storage,
  { durability = 'synced', ...lists }: ChangeLists & { readonly durability?: Transaction['durability'] },
): Promise<readonly number[]> {
  return new Promise((resolve, reject) => {
    const offsets: readonly number[] = storage.submit({
      durability,
      changes: changesOf(lists),
      onCommitted: () => resolve(offsets),
      onFailed: reject,
    });
  });
}

export async function createTopic(storage: Storage, name: string, partitionCount = 1): Promise<number> {
  const topicId = storage.nextTopicId();
  await commit(storage, { putTopics: [{ topicId, config: topicConfig(name, partitionCount) }] });
  return topicId;
}

/** The payloads of runs, as text. */
export function payloads(runs: readonly StoredRun[]): string[] {
  return runs.flatMap((run) =>
    Array.from(run.ends, (end, index) => {
      const bytes = run.messages.subarray(index === 0 ? 0 : run.ends[index - 1], end);
      let at = 1;
      while (bytes[at]! >= 0x80) at++;
      return Buffer.from(bytes.subarray(at + 1)).toString();
    }),
  );
}

/** Everything from `offset` on, read piece by piece; checks that pieces follow each other. */
export async function readAll(reader: LogReader, offset: number, maxBytes = 64 * 1024): Promise<StoredRun[]> {
  const all: StoredRun[] = [];
  for (let at = offset; ; ) {
    const runs = await reader.read(at, maxBytes);
    if (runs.length === 0) return all;
    for (const run of runs) {
      if (run.firstOffset > at) throw new Error(`run at ${run.firstOffset}, expected ${at}`);
      all.push(run);
      at = run.firstOffset + run.count;
    }
  }
}

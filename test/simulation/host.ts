import { cpSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from '../../src/base/logger.js';
import type { Random } from '../../src/base/random.js';
import { MiB, minuteMs } from '../../src/base/units.js';
import { createBroker } from '../../src/broker/broker.js';
import type { Broker } from '../../src/broker/types.js';
import { HeldStorage, type StorageWatcher, storeOptions } from './held-storage.js';
import { CutClock, SimulatedClock } from './simulated-clock.js';

export interface HostServices {
  readonly directory: string;
  readonly random: Random;
  /** What backoff is thrown with: the same for a whole run, so that the reference knows it. */
  readonly chance: number;
  readonly watcher: StorageWatcher;
  /** Something that must not happen in a run, whatever it does. */
  readonly failed: (error: unknown) => void;
}

/** The machine that the broker runs on: it crashes, and starts again from what is on its disk. */
export class Host {
  readonly clock = new SimulatedClock();
  readonly #services: HostServices;
  #storeCount = 0;
  #processClock: CutClock;
  #broker: Broker | undefined;
  #storage: HeldStorage | undefined;
  #crashed: { readonly storage: HeldStorage; readonly directory: string } | undefined;

  constructor(services: HostServices) {
    this.#services = services;
    this.#processClock = new CutClock(this.clock);
  }

  get broker(): Broker {
    return this.#broker!;
  }

  get storage(): HeldStorage {
    return this.#storage!;
  }

  async start(): Promise<void> {
    const { random, chance, watcher, failed } = this.#services;
    const clock = new CutClock(this.clock);
    this.#processClock = clock;
    const storage = await HeldStorage.open(this.#directory, clock, watcher, random);
    void storage.failed.then(failed);
    this.#storage = storage;
    this.#broker = await createBroker(
      {
        version: 'simulated',
        canAutoCreateTopics: true,
        defaultDurability: 'written',
        defaultAckDeadlineMs: minuteMs,
        maxPartitionCount: storeOptions.maxPartitionCount,
        maxMessageBytes: MiB,
        maxRequestBytes: MiB,
        minFreeDiskBytes: 0,
        frameBytes: MiB,
      },
      {
        storage,
        freeDiskBytes: async () => MiB,
        clock,
        random: { next: () => chance },
        logger: complaining((error) => {
          if (!clock.isCut) failed(error);
        }),
      },
    );
  }

  /** `kill -9`: what is on the disk at this moment is all that the next process finds. */
  crash(): void {
    const directory = this.#directory;
    this.#storeCount += 1;
    cpSync(directory, this.#directory, { recursive: true });
    this.#processClock.cut();
    this.storage.cut();
    this.#crashed = { storage: this.storage, directory };
  }

  /** Gives back what the dead process held. */
  async removeCrashedStore(): Promise<void> {
    if (this.#crashed === undefined) return;
    const { storage, directory } = this.#crashed;
    this.#crashed = undefined;
    await storage.close();
    await rm(directory, { recursive: true });
  }

  /** Ends a run: the broker has no clients any more. */
  async stop(): Promise<void> {
    this.#processClock.cut();
    await this.removeCrashedStore();
    this.#storage?.cut();
    await this.#storage?.close();
  }

  get #directory(): string {
    return join(this.#services.directory, `store-${this.#storeCount}`);
  }
}

/** With a whole disk and no damage there is nothing that the broker should complain of. */
function complaining(failed: (error: Error) => void): Logger {
  return {
    debug() {},
    info() {},
    warn() {},
    error: (fields, message) => failed(new Error(`logged: ${message}`, { cause: fields })),
  };
}

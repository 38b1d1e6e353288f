import { randomInt } from 'node:crypto';
import type { Clock } from '../base/clock.js';
import { limits } from '../base/limits.js';
import type { Logger } from '../base/logger.js';
import { divideBudget } from '../base/memory-budget.js';
import { createRandom } from '../base/random.js';
import { createBroker } from '../broker/broker.js';
import type { Settings } from '../config/schema.js';
import { defaultServerOptions, startServer } from '../server/server.js';
import { freeDiskBytes, openStorage } from '../storage/storage.js';

export interface NodeServices {
  readonly version: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A broker that serves. */
export interface RunningNode {
  /** Where it listens, as clients dial it. */
  readonly address: string;
  /** Resolves when the store has failed: nothing can be kept any more, and the process has to end. */
  readonly failed: Promise<Error>;
  /** Drains: ends streams, answers what is under way, closes the store. */
  close(): Promise<void>;
  /** After a failure: lets the refusals leave, and no more. What is on disk is for the next start. */
  abandon(): Promise<void>;
}

/** The one place where everything is put together: the store, the broker over it, the server over that. */
export async function startNode(settings: Settings, services: NodeServices): Promise<RunningNode> {
  const { clock, logger, version } = services;
  const budget = divideBudget(settings);
  let fail: (error: Error) => void = () => {};
  const failed = new Promise<Error>((resolve) => {
    fail = resolve;
  });
  const broker = await createBroker(
    {
      version,
      canAutoCreateTopics: settings.autoCreateTopics,
      defaultDurability: settings.defaultDurability,
      defaultAckDeadlineMs: settings.ackDeadlineMs,
      maxPartitionCount: settings.maxPartitionCount,
      maxMessageBytes: settings.maxMessageBytes,
      maxRequestBytes: settings.maxRequestBytes,
      minFreeDiskBytes: settings.minFreeDiskBytes,
      frameBytes: budget.frameBytes,
    },
    {
      openStorage: (listener) =>
        openStorage({ ...settings, ...budget, directory: settings.dataDirectory }, listener, {
          clock,
          logger,
        }),
      freeDiskBytes: () => freeDiskBytes(settings.dataDirectory),
      clock,
      random: createRandom(randomInt(2 ** 32)),
      logger,
      onFailed: (error) => fail(error),
    },
  );
  try {
    const server = await startServer(
      broker,
      { ...defaultServerOptions, ...settings, ...budget },
      { clock, logger },
    );
    server.setServing(true);
    return {
      address: server.address,
      failed,
      async close() {
        await server.close();
        await broker.close();
      },
      async abandon() {
        server.setServing(false);
        await new Promise<void>((resolve) => clock.after(limits.failureGraceMs, resolve));
      },
    };
  } catch (error) {
    await broker.close();
    throw error;
  }
}

import { randomInt } from 'node:crypto';
import { systemClock } from '../base/clock.js';
import type { Logger } from '../base/logger.js';
import { createRandom } from '../base/random.js';
import { createBroker } from '../broker/broker.js';
import type { Settings } from '../config/schema.js';
import { defaultServerOptions, startServer } from '../server/server.js';
import { freeDiskBytes, openStorage } from '../storage/storage.js';

/** A broker that serves. */
export interface RunningNode {
  /** Where it listens, as clients dial it. */
  readonly address: string;
  /** Drains: ends streams, answers what is under way, closes the store. */
  close(): Promise<void>;
}

export interface NodeServices {
  readonly version: string;
  readonly logger: Logger;
  /** The store failed: nothing can be kept any more, and the process has to end. */
  readonly onFailed: (error: Error) => void;
}

/** The one place where everything is put together. */
export async function startNode(settings: Settings, services: NodeServices): Promise<RunningNode> {
  const { logger, version } = services;
  const clock = systemClock;
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
    },
    {
      openStorage: (listener) =>
        openStorage({ ...settings, directory: settings.dataDirectory }, listener, { clock, logger }),
      freeDiskBytes: () => freeDiskBytes(settings.dataDirectory),
      clock,
      random: createRandom(randomInt(2 ** 32)),
      logger,
      onFailed: services.onFailed,
    },
  );
  try {
    const server = await startServer(broker, { ...defaultServerOptions, ...settings }, { clock, logger });
    server.setServing(true);
    return {
      address: server.address,
      async close() {
        await server.close();
        await broker.close();
      },
    };
  } catch (error) {
    await broker.close();
    throw error;
  }
}

import type { Clock } from '../../base/clock.js';
import { limits } from '../../base/limits.js';
import type { Logger } from '../../base/logger.js';
import { createRandom } from '../../base/random.js';
import { createBroker } from '../../broker/broker.js';
import type { Broker } from '../../broker/types.js';
import type { Settings } from '../../config/schema.js';
import { type RunningServer, startServer } from '../../server/server.js';
import { freeDiskBytes, openStorage } from '../../storage/storage.js';

export interface Services {
  readonly version: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A broker that serves. */
export interface OpenBroker {
  /** Where it listens, as clients dial it. */
  readonly address: string;
  /** Resolves when the store has failed: nothing is stored any more. */
  readonly failed: Promise<Error>;
  /** Refuses new work, answers what was begun, closes the store. */
  close(): Promise<void>;
  /** After a failure: lets the refusals leave, and no more. */
  abandon(): Promise<void>;
}

/** Puts everything together: the store, the broker over it, the server over that. */
export async function openBroker(
  settings: Settings,
  { version, clock, logger }: Services,
): Promise<OpenBroker> {
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
    },
    {
      openStorage: (listener) =>
        openStorage(
          {
            directory: settings.dataDirectory,
            maxPartitionCount: settings.maxPartitionCount,
            acceptDataLoss: settings.acceptDataLoss,
            tailBytes: settings.tailBytes,
            writerQueueBytes: settings.writerQueueBytes,
            concurrentReads: settings.concurrentReads,
          },
          listener,
          { clock, logger },
        ),
      freeDiskBytes: () => freeDiskBytes(settings.dataDirectory),
      clock,
      random: createRandom(clock.wallMs()),
      logger,
      onFailed: (error) => fail(error),
    },
  );
  const server = await startServerOver(broker, settings, { version, clock, logger });
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
}

async function startServerOver(
  broker: Broker,
  settings: Settings,
  services: Services,
): Promise<RunningServer> {
  try {
    return await startServer(
      broker,
      {
        listen: settings.listen,
        maxMessageBytes: settings.maxMessageBytes,
        maxRequestBytes: settings.maxRequestBytes,
        streamWindowBytes: settings.streamWindowBytes,
        connectionWindowBytes: settings.connectionWindowBytes,
        maxStreams: settings.maxStreams,
        drainGraceMs: limits.drainGraceMs,
      },
      services,
    );
  } catch (error) {
    await broker.close();
    throw error;
  }
}

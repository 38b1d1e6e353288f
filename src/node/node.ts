import { randomInt } from 'node:crypto';
import { createApi } from '../api/sluice-v1/api.js';
import type { Clock } from '../base/clock.js';
import { limits } from '../base/limits.js';
import type { Logger } from '../base/logger.js';
import { divideBudget } from '../base/memory-budget.js';
import { createRandom } from '../base/random.js';
import { SpareMemory } from '../base/spare-memory.js';
import { secondMs } from '../base/units.js';
import { createBroker } from '../broker/broker.js';
import type { BrokerSettings } from '../broker/settings.js';
import type { Broker, SubscriptionInfo } from '../broker/types.js';
import type { Settings } from '../config/schema.js';
import { createMetrics } from '../observe/metrics.js';
import { freeDiskBytes, openStorage } from '../storage/storage.js';
import { defaultServerOptions, type RunningServer, startServer } from '../transport/grpc/server.js';
import { type AdminHttp, startAdminHttp } from '../transport/http/admin-http.js';
import { brokerMetrics } from './broker-metrics.js';
import { type ClosingStep, closeInTurn } from './closing.js';

/** The server limits its own steps: this is their sum, and a moment more. */
const serverCloseLimitMs =
  defaultServerOptions.drainGraceMs + limits.lingerMs + limits.cutOffMs + 1 * secondMs;

export interface NodeServices {
  readonly version: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A running broker. */
export interface RunningNode {
  /** The address that it listens on, as clients dial it. */
  readonly address: string;
  /** Resolves when the store has failed: the process has to end. */
  readonly failed: Promise<Error>;
  /**
   * Drains: ends streams, answers calls under way, closes the store. Every step has a time limit. A step that
   * fails or takes too long does not prevent the others. Returns false if there was such a step: the log names it.
   */
  close(): Promise<boolean>;
  /** After a failure: only lets the refusals leave. The next start continues from what is on disk. */
  abandon(): Promise<void>;
}

/** The composition root: creates the store, the broker on it, and the server on that. */
export async function startNode(settings: Settings, services: NodeServices): Promise<RunningNode> {
  const { clock, logger, version } = services;
  const budget = divideBudget(settings);
  const storage = await openStorage(
    { ...settings, ...budget, directory: settings.dataDirectory },
    { clock, logger },
  );
  let closeStore = () => storage.close();
  const closing: ClosingStep[] = [{ what: 'store', limitMs: limits.closeStoreMs, close: () => closeStore() }];
  try {
    const broker = await createBroker(brokerSettings(settings, version, budget.frameBytes), {
      storage,
      freeDiskBytes: () => freeDiskBytes(settings.dataDirectory),
      clock,
      random: createRandom(randomInt(2 ** 32)),
      logger,
    });
    closeStore = () => broker.close();
    const frameMemory = new SpareMemory(limits.spareFrameBytes);
    const api = createApi({ broker, clock, scanLimits: settings, frameMemory });
    const server = await startServer(
      api,
      { ...defaultServerOptions, ...settings, ...budget },
      // No guards yet: every call is allowed.
      { clock, logger, guards: [] },
    );
    closing.unshift({ what: 'server', limitMs: serverCloseLimitMs, close: () => server.close() });
    const admin = await startAdmin(settings, { broker, server, frameMemory });
    if (admin !== undefined) {
      closing.push({ what: 'metrics', limitMs: limits.closeAdminMs, close: () => admin.close() });
    }
    server.setServing(true);
    if (admin !== undefined) logger.info({ address: admin.address }, 'serving metrics');
    return {
      address: server.address,
      failed: storage.failed,
      close: () => closeInTurn(closing, services),
      async abandon() {
        server.setServing(false);
        await new Promise<void>((resolve) => clock.after(limits.failureGraceMs, resolve));
      },
    };
  } catch (error) {
    await closeInTurn(closing, services);
    throw error;
  }
}

function brokerSettings(settings: Settings, version: string, frameBytes: number): BrokerSettings {
  return {
    version,
    canAutoCreateTopics: settings.autoCreateTopics,
    defaultDurability: settings.defaultDurability,
    defaultAckDeadlineMs: settings.ackDeadlineMs,
    maxPartitionCount: settings.maxPartitionCount,
    maxMessageBytes: settings.maxMessageBytes,
    maxRequestBytes: settings.maxRequestBytes,
    minFreeDiskBytes: settings.minFreeDiskBytes,
    frameBytes,
  };
}

interface Served {
  readonly broker: Broker;
  readonly server: RunningServer;
  readonly frameMemory: SpareMemory;
}

/** Starts metrics and probes over HTTP if the settings ask for them. */
async function startAdmin(
  { metricsListen }: Settings,
  { broker, server, frameMemory }: Served,
): Promise<AdminHttp | undefined> {
  if (metricsListen === '') return undefined;
  const metrics = createMetrics(
    brokerMetrics({
      stats: () => broker.stats(),
      subscriptions: () => allSubscriptions(broker),
      streams: () => server.streamCount,
      promisedWindowBytes: () => server.promisedWindowBytes,
      spareFrameBytes: () => frameMemory.spareBytes,
      calls: () => server.calls,
    }),
  );
  return startAdminHttp({
    listen: metricsListen,
    isReady: () => server.isServing,
    metrics: async () => ({ contentType: metrics.contentType, text: await metrics.text() }),
  });
}

function allSubscriptions(broker: Broker): SubscriptionInfo[] {
  const all: SubscriptionInfo[] = [];
  let pageToken = '';
  do {
    const { items, nextPageToken } = broker.listSubscriptions('', limits.maxPageSize, pageToken);
    all.push(...items);
    pageToken = nextPageToken;
  } while (pageToken !== '');
  return all;
}

import { limits } from '../base/limits.js';
import { smallestRestBytes } from '../base/memory-budget.js';
import { KiB, MiB } from '../base/units.js';
import { address, bytes, choice, count, duration, type Kind, optional, text, truth } from './kinds.js';

/**
 * The one table of settings. A setting has one name in three spellings: the flag `--max-message-bytes`, the
 * variable `SLUICE_MAX_MESSAGE_BYTES`, and the key `max-message-bytes` of the file.
 */
export const schema = {
  listen: setting('listen', address, '127.0.0.1:7070', 'Where gRPC is served; port 0 takes a free one'),
  metricsListen: setting(
    'metrics-listen',
    optional(address),
    '',
    'Where /metrics, /livez and /readyz are served over HTTP',
  ),
  dataDirectory: setting('data-dir', text('<path>'), './data', 'Where messages are kept; made if missing'),
  maxPartitionCount: setting(
    'max-partition-count',
    count({ min: 1, max: limits.largestMaxPartitionCount }),
    limits.maxPartitionCount,
    'Most partitions of a topic; may be raised at a restart, never lowered',
  ),
  autoCreateTopics: setting(
    'auto-create-topics',
    truth,
    true,
    'Create a topic when somebody first publishes or subscribes to it',
  ),
  defaultDurability: setting(
    'default-durability',
    choice(['synced', 'written']),
    'synced',
    'What a receipt promises unless the topic says otherwise: synced survives a loss of power',
  ),
  maxMessageBytes: setting(
    'max-message-bytes',
    bytes({ min: 1 * KiB, max: limits.largestMaxRequestBytes }),
    limits.maxMessageBytes,
    'Largest message, encoded',
  ),
  maxRequestBytes: setting(
    'max-request-bytes',
    bytes({ min: 64 * KiB, max: limits.largestMaxRequestBytes }),
    limits.maxRequestBytes,
    'Largest request, encoded',
  ),
  streamWindowBytes: setting(
    'stream-window-bytes',
    bytes({ min: limits.smallestWindowBytes, max: limits.largestWindowBytes }),
    limits.streamWindowBytes,
    'Widest HTTP/2 receive window of a stream: what a producer may have under way',
  ),
  connectionWindowBytes: setting(
    'connection-window-bytes',
    bytes({ min: limits.smallestWindowBytes, max: limits.largestWindowBytes }),
    limits.connectionWindowBytes,
    'HTTP/2 receive window of a connection',
  ),
  writerQueueBytes: setting(
    'writer-queue-bytes',
    bytes({ min: 64 * KiB }),
    limits.writerQueueBytes,
    'Bytes waiting for the disk above which producers are not read',
  ),
  maxInFlightBytes: setting(
    'max-in-flight-bytes',
    bytes({ min: smallestRestBytes }),
    limits.maxInFlightBytes,
    'Memory for everything in flight: windows of producers, writer queue, tail, reads, frames',
  ),
  tailBytes: setting(
    'tail-bytes',
    bytes(),
    limits.tailBytes,
    'Memory for the newest messages, for consumers that keep up',
  ),
  concurrentReads: setting(
    'concurrent-reads',
    count({ min: 1, max: limits.largestConcurrentReads }),
    limits.concurrentReads,
    'Reads of the log that run at once, over all consumers',
  ),
  maxStreams: setting('max-streams', count({ min: 1 }), limits.maxStreams, 'Streams open at once'),
  maxCalls: setting(
    'max-calls',
    count({ min: 1 }),
    limits.maxCalls,
    'Calls open at once that are no streams, over all connections',
  ),
  maxOpensPerSecond: setting(
    'max-opens-per-second',
    count({ min: 1 }),
    limits.maxOpensPerSecond,
    'Streams that clients of one address may open in a second; ten times as many at once',
  ),
  maxConnectionsPerPeer: setting(
    'max-connections-per-peer',
    count({ min: 1 }),
    limits.maxConnectionsPerPeer,
    'Connections open at once from one address',
  ),
  minFreeDiskBytes: setting(
    'min-free-disk-bytes',
    bytes(),
    limits.minFreeDiskBytes,
    'Free space on the disk below which producers are held',
  ),
  acceptDataLoss: setting(
    'accept-data-loss',
    truth,
    false,
    'Start although synced data is missing or damaged: see docs/damage.md',
  ),
  ackDeadlineMs: setting(
    'ack-deadline',
    duration({ min: limits.minAckDeadlineMs, max: limits.maxAckDeadlineMs }),
    limits.defaultAckDeadlineMs,
    'How long a consumer has for a message, where its subscription does not say',
  ),
  logLevel: setting('log-level', choice(['debug', 'info', 'warn', 'error']), 'info', 'Least that is logged'),
  logFormat: setting(
    'log-format',
    choice(['auto', 'json', 'pretty']),
    'auto',
    'auto is pretty on a terminal and json elsewhere',
  ),
} as const;

export type SettingName = keyof typeof schema;

/** Every setting with its value, checked. Frozen: nothing changes while the broker runs. */
export type Settings = {
  readonly [K in SettingName]: (typeof schema)[K] extends Setting<infer T> ? T : never;
};

export interface Setting<T> {
  /** As on the command line, without the dashes; also the key of the file. */
  readonly flag: string;
  readonly variable: string;
  readonly kind: Kind<T>;
  readonly fallback: T;
  /** The fallback as people write it. */
  readonly fallbackText: string;
  readonly doc: string;
}

function setting<T>(flag: string, kind: Kind<T>, fallback: NoInfer<T>, doc: string): Setting<T> {
  const variable = `SLUICE_${flag.replaceAll('-', '_').toUpperCase()}`;
  return { flag, variable, kind, fallback, fallbackText: kind.format(fallback), doc };
}

/** What contradicts what, beyond single values. Each line names the flags that it is about. */
export function findContradictions(settings: Settings): string[] {
  const faults: string[] = [];
  if (settings.maxMessageBytes > settings.maxRequestBytes) {
    faults.push('--max-message-bytes is more than --max-request-bytes: such a message could never arrive');
  }
  if (settings.streamWindowBytes > settings.connectionWindowBytes) {
    faults.push('--stream-window-bytes is more than --connection-window-bytes: it could never be used');
  }
  const { maxInFlightBytes, writerQueueBytes, tailBytes } = settings;
  if (maxInFlightBytes < writerQueueBytes + tailBytes + smallestRestBytes) {
    const leastMiB = smallestRestBytes / MiB;
    faults.push(
      `--max-in-flight-bytes is less than --writer-queue-bytes, --tail-bytes and ${leastMiB} MiB for all else together`,
    );
  }
  return faults;
}

import { limits } from '../base/limits.js';
import { smallestRestBytes } from '../base/memory-budget.js';
import { KiB, MiB } from '../base/units.js';
import { address, bytes, choice, count, duration, type Kind, optional, text, truth } from './kinds.js';

/**
 * The table of settings. A setting has one name in three spellings: the flag `--max-message-bytes`, the variable
 * `SLUICE_MAX_MESSAGE_BYTES`, and the key `max-message-bytes` of the file.
 */
export const schema = {
  listen: setting(
    'listen',
    address,
    '127.0.0.1:7070',
    'Address of the gRPC server; port 0 takes a free port',
  ),
  metricsListen: setting(
    'metrics-listen',
    optional(address),
    '',
    'Address of the HTTP server for /metrics, /livez and /readyz',
  ),
  dataDirectory: setting(
    'data-dir',
    text('<path>'),
    './data',
    'Directory of the store; created if it does not exist',
  ),
  maxPartitionCount: setting(
    'max-partition-count',
    count({ min: 1, max: limits.largestMaxPartitionCount }),
    limits.maxPartitionCount,
    'Largest partition count of a topic; can be raised at a restart, never lowered',
  ),
  autoCreateTopics: setting(
    'auto-create-topics',
    truth,
    true,
    'Create a topic when a client first publishes or subscribes to it',
  ),
  defaultDurability: setting(
    'default-durability',
    choice(['synced', 'written']),
    'synced',
    'What a receipt guarantees unless the topic has its own durability: synced survives a loss of power',
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
    'Widest HTTP/2 receive window of a stream: how many bytes a producer may have under way',
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
    'Bytes waiting for the disk above which producers are held',
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
    'Concurrent reads of the log, over all consumers',
  ),
  maxStreams: setting('max-streams', count({ min: 1 }), limits.maxStreams, 'Open streams'),
  maxCalls: setting(
    'max-calls',
    count({ min: 1 }),
    limits.maxCalls,
    'Open calls that are not streams, over all connections',
  ),
  maxOpensPerSecond: setting(
    'max-opens-per-second',
    count({ min: 1 }),
    limits.maxOpensPerSecond,
    'Streams that clients of one address may open in a second; ten times as many in a burst',
  ),
  maxConnectionsPerPeer: setting(
    'max-connections-per-peer',
    count({ min: 1 }),
    limits.maxConnectionsPerPeer,
    'Open connections from one address',
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
    'How long a consumer has for a message, unless its subscription has its own deadline',
  ),
  logLevel: setting(
    'log-level',
    choice(['debug', 'info', 'warn', 'error']),
    'info',
    'Lowest level that is logged',
  ),
  logFormat: setting(
    'log-format',
    choice(['auto', 'json', 'pretty']),
    'auto',
    'auto is pretty on a terminal and json elsewhere',
  ),
} as const;

export type SettingName = keyof typeof schema;

/** Every setting with its checked value. Frozen: nothing changes while the broker runs. */
export type Settings = {
  readonly [K in SettingName]: (typeof schema)[K] extends Setting<infer T> ? T : never;
};

export interface Setting<T> {
  /** As on the command line, without the dashes. Also the key in the file. */
  readonly flag: string;
  readonly variable: string;
  readonly kind: Kind<T>;
  readonly fallback: T;
  /** The default in the syntax of its kind. */
  readonly fallbackText: string;
  readonly doc: string;
}

function setting<T>(flag: string, kind: Kind<T>, fallback: NoInfer<T>, doc: string): Setting<T> {
  const variable = `SLUICE_${flag.replaceAll('-', '_').toUpperCase()}`;
  return { flag, variable, kind, fallback, fallbackText: kind.format(fallback), doc };
}

/** Contradictions between settings. Each line names the flags concerned. */
export function findContradictions(settings: Settings): string[] {
  const faults: string[] = [];
  if (settings.maxMessageBytes > settings.maxRequestBytes) {
    faults.push('--max-message-bytes is more than --max-request-bytes: such a message could never be sent');
  }
  if (settings.streamWindowBytes > settings.connectionWindowBytes) {
    faults.push('--stream-window-bytes is more than --connection-window-bytes: it could never be used');
  }
  const { maxInFlightBytes, writerQueueBytes, tailBytes } = settings;
  if (maxInFlightBytes < writerQueueBytes + tailBytes + smallestRestBytes) {
    const leastMiB = smallestRestBytes / MiB;
    faults.push(
      `--max-in-flight-bytes is less than --writer-queue-bytes, --tail-bytes and ${leastMiB} MiB for everything else together`,
    );
  }
  return faults;
}

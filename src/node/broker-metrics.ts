import type { BrokerStats, SubscriptionInfo } from '../broker/types.js';
import type { Metric, Sample } from '../observe/metrics.js';
import type { CallFigures } from '../transport/grpc/server.js';

/** The sources of the figures. Each is read at most once for each scrape. */
export interface MetricSources {
  readonly stats: () => BrokerStats;
  readonly subscriptions: () => readonly SubscriptionInfo[];
  readonly streams: () => number;
  readonly promisedWindowBytes: () => number;
  readonly spareFrameBytes: () => number;
  readonly calls: () => CallFigures;
}

/** The metrics of the broker. docs/metrics.md explains their names. */
export function brokerMetrics(sources: MetricSources): readonly Metric[] {
  const { stats, subscriptions, streams, promisedWindowBytes, spareFrameBytes, calls } = sources;
  const counter = (name: string, help: string, read: (stats: BrokerStats) => number): Metric => ({
    name: `sluice_${name}_total`,
    help,
    kind: 'counter',
    read: () => [{ value: read(stats()) }],
  });
  const gauge = (name: string, help: string, read: () => number): Metric => ({
    name: `sluice_${name}`,
    help,
    kind: 'gauge',
    read: () => [{ value: read() }],
  });
  return [
    counter('published_messages', 'Messages stored', (of) => of.publishedMessages),
    counter('published_bytes', 'Bytes of messages stored, encoded', (of) => of.publishedBytes),
    counter(
      'duplicate_messages',
      'Messages that were sent again and not stored again',
      (of) => of.duplicateMessages,
    ),
    counter('refused_batches', 'Batches that were refused', (of) => of.refusedBatches),
    counter('delivered_messages', 'Messages sent to consumers, each delivery', (of) => of.deliveredMessages),
    counter('delivered_bytes', 'Bytes of messages sent to consumers', (of) => of.deliveredBytes),
    counter('settled_messages', 'Messages settled by consumers', (of) => of.settledMessages),
    counter('dead_lettered_messages', 'Messages dead-lettered', (of) => of.deadLetteredMessages),
    {
      name: 'sluice_producers',
      help: 'Open streams that publish, by the reason why they are held; none: the broker waits for the producer',
      kind: 'gauge',
      labels: ['held_by'],
      read: () => byReason('held_by', stats().producersByHold),
    },
    {
      name: 'sluice_producers_held_seconds_total',
      help: 'Time that producers were held, over all streams',
      kind: 'counter',
      labels: ['held_by'],
      read: () => byReason('held_by', stats().heldMs, 1 / 1000),
    },
    {
      name: 'sluice_consumers',
      help: 'Sessions of consumers, by the reason why they wait; none: they are being served',
      kind: 'gauge',
      labels: ['waits_for'],
      read: () => byReason('waits_for', stats().consumersByWait),
    },
    {
      name: 'sluice_consumers_waiting_seconds_total',
      help: 'Time that consumers waited, over all sessions',
      kind: 'counter',
      labels: ['waits_for'],
      read: () => byReason('waits_for', stats().waitedMs, 1 / 1000),
    },
    gauge(
      'writer_queue_bytes',
      'Bytes that wait for the disk or are with the writer',
      () => stats().queuedBytes,
    ),
    gauge('tail_bytes', 'Memory of the newest messages', () => stats().tailBytes),
    gauge('frame_bytes', 'Bytes of frames that have not left for the transport', () => stats().frameBytes),
    gauge('read_ahead_bytes', 'Bytes of the disk that readers hold', () => stats().readAheadBytes),
    gauge(
      'promised_window_bytes',
      'Bytes that producers may leave unread if all are held',
      promisedWindowBytes,
    ),
    gauge(
      'spare_bytes',
      'Memory kept for reuse, for rounds and for frames',
      () => stats().spareRoundBytes + spareFrameBytes(),
    ),
    gauge('open_streams', 'Open gRPC streams', streams),
    gauge('open_calls', 'Open gRPC calls that are not streams', () => calls().callCount),
    gauge('connections', 'Open connections over TCP', () => calls().connectionCount),
    gauge('answer_bytes', 'Answers that clients have not read', () => calls().answerBytes),
    gauge(
      'stream_answer_bytes',
      'Answers of streams that are due or have not left for the transport',
      () => calls().streamAnswerBytes,
    ),
    gauge('request_bytes', 'Requests of open calls that take one', () => calls().requestBytes),
    {
      name: 'sluice_refused_calls_total',
      help: 'Calls that were refused because of a limit, or because no request arrived',
      kind: 'counter',
      labels: ['reason'],
      read: () => byReason('reason', calls().refusals),
    },
    {
      name: 'sluice_cut_connections_total',
      help: 'Connections that were closed because of the behaviour of their client',
      kind: 'counter',
      read: () => [{ value: calls().cutConnectionCount }],
    },
    {
      name: 'sluice_subscription_backlog_messages',
      help: 'Messages that a subscription has not settled',
      kind: 'gauge',
      labels: ['topic', 'subscription'],
      read: () => subscriptions().map((of) => bySubscription(of, (each) => each.backlogMessageCount)),
    },
    {
      name: 'sluice_subscription_outstanding_messages',
      help: 'Messages that consumers of a subscription hold',
      kind: 'gauge',
      labels: ['topic', 'subscription'],
      read: () => subscriptions().map((of) => bySubscription(of, (each) => each.outstandingMessageCount)),
    },
  ];
}

function byReason(label: string, values: ReadonlyMap<string, number>, factor = 1): Sample[] {
  return Array.from(values, ([reason, value]) => ({ labels: { [label]: reason }, value: value * factor }));
}

function bySubscription(
  { config, partitions }: SubscriptionInfo,
  count: (partition: SubscriptionInfo['partitions'][number]) => number,
): Sample {
  const value = partitions.reduce((sum, partition) => sum + count(partition), 0);
  return { labels: { topic: config.topic, subscription: config.name }, value };
}

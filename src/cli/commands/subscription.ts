import { create, toJson } from '@bufbuild/protobuf';
import { durationFromMs, durationMs } from '@bufbuild/protobuf/wkt';
import {
  DeadLetterPolicySchema,
  RetryPolicySchema,
  type Subscription,
  SubscriptionSchema,
} from '@sluice/client/api';
import { limits } from '../../base/limits.js';
import { count, duration, formatDuration, text, truth } from '../../config/kinds.js';
import { type Context, defineCommand } from '../command.js';
import { connectionParameters, promptCall, withClient } from '../connection.js';
import { ordering } from '../enums.js';
import { UsageError } from '../exit.js';
import { allPages } from '../pages.js';
import { operand, optionalOperand, toggle, type ValuesOf, value } from '../parameters.js';
import { startPosition } from '../positions.js';
import { formatTable, grouped, numeric } from '../table.js';

const common = { json: toggle('Print JSON, as protobuf writes it'), ...connectionParameters } as const;

const names = {
  topic: operand(text('<topic>'), 'Topic of the subscription'),
  subscription: operand(text('<subscription>'), 'Name of the subscription'),
} as const;

const policy = {
  ackDeadline: value(duration(), 'How long a consumer has for a message; 0 is the default of the broker'),
  minBackoff: value(
    duration(),
    'Delay before a failed message is delivered again, doubled with every failure',
  ),
  maxBackoff: value(duration(), 'Longest such delay'),
  maxAttempts: value(count(), 'Deliveries before a message is dead-lettered; 0 is the default of the broker'),
  deadLetterTopic: value(
    text('<topic>'),
    'Where dead letters go (default: <topic>.<subscription>.dead-letter, shortened to 200 characters)',
  ),
  retryForEver: value(truth, 'Never dead-letter'),
} as const;

/** Applies the given flags to a subscription. Returns the changed fields. */
function applyPolicy(subscription: Subscription, values: ValuesOf<typeof policy>): string[] {
  const touched = new Set<string>();
  const { ackDeadline, minBackoff, maxBackoff, maxAttempts, deadLetterTopic, retryForEver } = values;
  if (ackDeadline !== undefined) {
    subscription.ackDeadline = durationFromMs(ackDeadline);
    touched.add('ack_deadline');
  }
  if (minBackoff !== undefined || maxBackoff !== undefined) {
    subscription.retry ??= create(RetryPolicySchema);
    if (minBackoff !== undefined) subscription.retry.minBackoff = durationFromMs(minBackoff);
    if (maxBackoff !== undefined) subscription.retry.maxBackoff = durationFromMs(maxBackoff);
    touched.add('retry');
  }
  if (maxAttempts !== undefined || deadLetterTopic !== undefined || retryForEver !== undefined) {
    subscription.deadLetter ??= create(DeadLetterPolicySchema);
    if (maxAttempts !== undefined) subscription.deadLetter.maxAttempts = maxAttempts;
    if (deadLetterTopic !== undefined) subscription.deadLetter.topic = deadLetterTopic;
    if (retryForEver !== undefined) subscription.deadLetter.disabled = retryForEver;
    touched.add('dead_letter');
  }
  return [...touched];
}

const subscriptionList = defineCommand({
  path: 'subscription list',
  summary: 'List the subscriptions, of one topic or of all',
  examples: ['sluice subscription list', 'sluice subscription list orders'],
  parameters: { topic: optionalOperand(text('<topic>'), 'Only of this topic'), ...common },
  async run(values, context) {
    await withClient(values, context, async ({ admin }) => {
      const all = await allPages(async (pageToken) => {
        const request = { topic: values.topic ?? '', pageToken, pageSize: limits.maxPageSize };
        const page = await admin.listSubscriptions(request, promptCall(context));
        return { items: page.subscriptions, nextPageToken: page.nextPageToken };
      });
      if (values.json) await printJson(all, context);
      else await context.stdout.write(formatSubscriptions(all));
    });
  },
});

const subscriptionGet = defineCommand({
  path: 'subscription get',
  summary: 'Show a subscription and its position in every partition',
  examples: ['sluice subscription get orders billing'],
  parameters: { ...names, ...common },
  async run(values, context) {
    await withClient(values, context, async ({ admin }) => {
      const request = { topic: values.topic, name: values.subscription };
      const { subscription } = await admin.getSubscription(request, promptCall(context));
      await print(subscription!, values.json, context);
    });
  },
});

const subscriptionCreate = defineCommand({
  path: 'subscription create',
  summary: 'Create a subscription; succeeds if the same one exists',
  examples: [
    'sluice subscription create orders billing --start latest',
    'sluice subscription create orders mail --ordering key --max-attempts 5 --ack-deadline 2m',
  ],
  parameters: {
    ...names,
    ordering: value(ordering, 'In which order messages are delivered (default partition)'),
    start: value(
      startPosition,
      'Where the subscription starts: earliest (the default), latest, offset:<n>, time:<ISO>',
    ),
    ...policy,
    ...common,
  },
  async run(values, context) {
    const { topic, subscription: name, start } = values;
    await withClient(values, context, async ({ admin }) => {
      const wanted = create(SubscriptionSchema, { topic, name, ordering: values.ordering ?? 0 });
      applyPolicy(wanted, values);
      const request = { subscription: wanted, ...(start !== undefined && { start }) };
      const { subscription } = await admin.createSubscription(request, promptCall(context));
      await print(subscription!, values.json, context);
    });
  },
});

const subscriptionUpdate = defineCommand({
  path: 'subscription update',
  summary: 'Change the given fields of a subscription',
  examples: ['sluice subscription update orders billing --ack-deadline 5m'],
  parameters: { ...names, ...policy, ...common },
  async run(values, context) {
    await withClient(values, context, async ({ admin }) => {
      const request = { topic: values.topic, name: values.subscription };
      const { subscription: current } = await admin.getSubscription(request, promptCall(context));
      const paths = applyPolicy(current!, values);
      if (paths.length === 0)
        throw new UsageError('nothing to change: give at least one flag of the subscription');
      const change = { subscription: current!, updateMask: { paths } };
      const { subscription } = await admin.updateSubscription(change, promptCall(context));
      await print(subscription!, values.json, context);
    });
  },
});

const subscriptionDelete = defineCommand({
  path: 'subscription delete',
  summary: 'Delete a subscription; the messages stay',
  examples: ['sluice subscription delete orders billing'],
  parameters: { ...names, ...connectionParameters },
  async run(values, context) {
    await withClient(values, context, async ({ admin }) => {
      await admin.deleteSubscription({ topic: values.topic, name: values.subscription }, promptCall(context));
      await context.stderr.line(`deleted subscription ${values.subscription} of ${values.topic}`);
    });
  },
});

const subscriptionSeek = defineCommand({
  path: 'subscription seek',
  summary: 'Move a subscription to an earlier or later position',
  notes: [
    'Messages that it skips are settled; messages behind an earlier position are delivered again, as if for the first time.',
  ],
  examples: [
    'sluice subscription seek orders billing earliest',
    'sluice subscription seek orders billing offset:1200 --partition 3',
    'sluice subscription seek orders billing time:2026-01-31T12:00:00Z',
  ],
  parameters: {
    ...names,
    position: operand(startPosition, 'The position: earliest, latest, offset:<n>, time:<ISO>'),
    partition: value(count(), 'Only this partition'),
    ...common,
  },
  async run(values, context) {
    const { topic, subscription: name, position, partition } = values;
    await withClient(values, context, async ({ admin }) => {
      const request = { topic, name, position, ...(partition !== undefined && { partition }) };
      const { subscription } = await admin.seekSubscription(request, promptCall(context));
      await print(subscription!, values.json, context);
    });
  },
});

export const subscriptionCommands = [
  subscriptionList,
  subscriptionGet,
  subscriptionCreate,
  subscriptionUpdate,
  subscriptionDelete,
  subscriptionSeek,
];

async function print(subscription: Subscription, isJson: boolean, context: Context): Promise<void> {
  if (isJson) await printJson([subscription], context);
  else await context.stdout.write(`${describe(subscription)}\n${formatPartitions(subscription)}`);
}

/** One object a line. */
async function printJson(subscriptions: readonly Subscription[], context: Context): Promise<void> {
  for (const subscription of subscriptions) {
    await context.stdout.line(JSON.stringify(toJson(SubscriptionSchema, subscription)));
  }
}

function formatSubscriptions(subscriptions: readonly Subscription[]): string {
  return formatTable(
    [
      'TOPIC',
      'SUBSCRIPTION',
      'ORDERING',
      numeric('BACKLOG'),
      numeric('OUTSTANDING'),
      numeric('DEAD LETTERS'),
    ],
    subscriptions.map(({ topic, name, ordering: order, partitions }) => [
      topic,
      name,
      ordering.format(order),
      grouped(partitions.reduce((sum, { backlogMessageCount }) => sum + backlogMessageCount, 0n)),
      grouped(partitions.reduce((sum, { outstandingMessageCount }) => sum + outstandingMessageCount, 0n)),
      grouped(partitions.reduce((sum, { deadLetterCount }) => sum + deadLetterCount, 0n)),
    ]),
  );
}

function formatPartitions({ partitions }: Subscription): string {
  return formatTable(
    [
      numeric('PARTITION'),
      numeric('ACKNOWLEDGED'),
      numeric('BACKLOG'),
      numeric('OUTSTANDING'),
      numeric('DEAD LETTERS'),
      'SESSION',
    ],
    partitions.map((partition) => [
      partition.partition,
      partition.acknowledgedOffset,
      grouped(partition.backlogMessageCount),
      grouped(partition.outstandingMessageCount),
      grouped(partition.deadLetterCount),
      partition.sessionId === '' ? '-' : partition.sessionId,
    ]),
  );
}

function describe({ topic, name, ordering: order, ackDeadline, retry, deadLetter }: Subscription): string {
  const shown = (given: Parameters<typeof durationMs>[0] | undefined) =>
    given === undefined || durationMs(given) === 0 ? 'default' : formatDuration(durationMs(given));
  const attempts =
    deadLetter === undefined || deadLetter.maxAttempts === 0 ? 'default' : deadLetter.maxAttempts;
  const target =
    deadLetter === undefined || deadLetter.topic === '' ? `${topic}.${name}.dead-letter` : deadLetter.topic;
  return [
    `topic         ${topic}`,
    `subscription  ${name}`,
    `ordering      ${ordering.format(order)}`,
    `ack deadline  ${shown(ackDeadline)}`,
    `backoff       ${shown(retry?.minBackoff)} to ${shown(retry?.maxBackoff)}`,
    `dead letters  ${deadLetter?.disabled ? 'never' : `after ${attempts} attempts, to ${target}`}`,
    '',
  ].join('\n');
}

import { create, toJson } from '@bufbuild/protobuf';
import { durationFromMs, durationMs } from '@bufbuild/protobuf/wkt';
import { BacklogLimitSchema, RetentionPolicySchema, type Topic, TopicSchema } from '@sluice/client/api';
import { limits } from '../../base/limits.js';
import { bytes, count, duration, formatBytes, formatDuration, text, truth } from '../../config/kinds.js';
import { type Context, defineCommand } from '../command.js';
import { connectionParameters, promptCall, withClient } from '../connection.js';
import { durability, whenFull } from '../enums.js';
import { UsageError } from '../exit.js';
import { allPages } from '../pages.js';
import { operand, toggle, type ValuesOf, value } from '../parameters.js';
import { formatTable, grouped, numeric } from '../table.js';

const common = { json: toggle('Print JSON, as protobuf writes it'), ...connectionParameters } as const;

const policies = {
  partitions: value(count({ min: 1 }), 'Number of partitions: can be increased later, never decreased'),
  durability: value(durability, 'What a receipt guarantees'),
  retentionAge: value(duration(), 'Delete settled messages that are older; 0 is no limit'),
  retentionBytes: value(
    bytes(),
    'Delete the oldest settled messages above this size of a partition; 0 is no limit',
  ),
  untilAcknowledged: value(truth, 'Delete a message as soon as every subscription has settled it: a queue'),
  dropUnacknowledged: value(truth, 'Delete at the limit, settled or not'),
  backlogBytes: value(
    bytes(),
    'How far the slowest subscription may fall behind, per partition; 0 is no limit',
  ),
  backlogMessages: value(count(), 'The same in messages'),
  whenFull: value(whenFull, 'At that limit: hold producers, or reject their batches'),
} as const;

type Policies = ValuesOf<typeof policies>;

/** Applies the given flags to a topic. Returns the changed fields. */
function applyPolicies(topic: Topic, values: Policies): string[] {
  const touched = new Set<string>();
  const take = <T>(field: string, given: T | undefined, put: (given: T) => void) => {
    if (given === undefined) return;
    put(given);
    touched.add(field);
  };
  topic.retention ??= create(RetentionPolicySchema);
  topic.backlogLimit ??= create(BacklogLimitSchema);
  const { retention, backlogLimit } = topic;
  take('partition_count', values.partitions, (given) => {
    topic.partitionCount = given;
  });
  take('durability', values.durability, (given) => {
    topic.durability = given;
  });
  take('retention', values.retentionAge, (given) => {
    retention.maxAge = durationFromMs(given);
  });
  take('retention', values.retentionBytes, (given) => {
    retention.maxBytes = BigInt(given);
  });
  take('retention', values.untilAcknowledged, (given) => {
    retention.untilAcknowledged = given;
  });
  take('retention', values.dropUnacknowledged, (given) => {
    retention.dropUnacknowledged = given;
  });
  take('backlog_limit', values.backlogBytes, (given) => {
    backlogLimit.maxBytes = BigInt(given);
  });
  take('backlog_limit', values.backlogMessages, (given) => {
    backlogLimit.maxMessages = BigInt(given);
  });
  take('backlog_limit', values.whenFull, (given) => {
    backlogLimit.whenFull = given;
  });
  return [...touched];
}

const topicList = defineCommand({
  path: 'topic list',
  summary: 'List the topics',
  examples: ['sluice topic list', 'sluice topic list --json | jq -r .name'],
  parameters: common,
  async run(values, context) {
    await withClient(values, context, async ({ admin }) => {
      const topics = await allPages(async (pageToken) => {
        const page = await admin.listTopics({ pageToken, pageSize: limits.maxPageSize }, promptCall(context));
        return { items: page.topics, nextPageToken: page.nextPageToken };
      });
      if (values.json) await printJson(topics, context);
      else await context.stdout.write(formatTopics(topics));
    });
  },
});

const topicGet = defineCommand({
  path: 'topic get',
  summary: 'Show a topic and its partitions',
  examples: ['sluice topic get orders'],
  parameters: { topic: operand(text('<topic>'), 'Name of the topic'), ...common },
  async run(values, context) {
    await withClient(values, context, async ({ admin }) => {
      const { topic } = await admin.getTopic({ name: values.topic }, promptCall(context));
      await print(topic!, values.json, context);
    });
  },
});

const topicCreate = defineCommand({
  path: 'topic create',
  summary: 'Create a topic; succeeds if the same one exists',
  notes: [
    'Without a limit (--retention-age, --retention-bytes or --until-acknowledged) messages are never deleted: the disk ' +
      'fills until producers are held.',
  ],
  examples: [
    'sluice topic create orders --partitions 8',
    'sluice topic create jobs --until-acknowledged true --backlog-messages 100000 --when-full reject',
  ],
  parameters: { topic: operand(text('<topic>'), 'Name of the topic'), ...policies, ...common },
  async run(values, context) {
    await withClient(values, context, async ({ admin }) => {
      const wanted = create(TopicSchema, { name: values.topic, partitionCount: 1 });
      applyPolicies(wanted, values);
      const { topic } = await admin.createTopic({ topic: wanted }, promptCall(context));
      await print(topic!, values.json, context);
      await hintAtRetention(topic!, context);
    });
  },
});

const topicUpdate = defineCommand({
  path: 'topic update',
  summary: 'Change the given fields of a topic',
  examples: ['sluice topic update orders --retention-age 7d', 'sluice topic update orders --partitions 16'],
  parameters: { topic: operand(text('<topic>'), 'Name of the topic'), ...policies, ...common },
  async run(values, context) {
    await withClient(values, context, async ({ admin }) => {
      const { topic: current } = await admin.getTopic({ name: values.topic }, promptCall(context));
      const paths = applyPolicies(current!, values);
      if (paths.length === 0) throw new UsageError('nothing to change: give at least one flag of the topic');
      const { topic } = await admin.updateTopic(
        { topic: current!, updateMask: { paths } },
        promptCall(context),
      );
      await print(topic!, values.json, context);
      if (paths.includes('retention')) await hintAtRetention(topic!, context);
    });
  },
});

const topicDelete = defineCommand({
  path: 'topic delete',
  summary: 'Delete a topic with its messages and subscriptions',
  examples: ['sluice topic delete orders'],
  parameters: { topic: operand(text('<topic>'), 'Name of the topic'), ...connectionParameters },
  async run(values, context) {
    await withClient(values, context, async ({ admin }) => {
      await admin.deleteTopic({ name: values.topic }, promptCall(context));
      await context.stderr.line(`deleted topic ${values.topic}`);
    });
  },
});

export const topicCommands = [topicList, topicGet, topicCreate, topicUpdate, topicDelete];

async function print(topic: Topic, isJson: boolean, context: Context): Promise<void> {
  if (isJson) await printJson([topic], context);
  else await context.stdout.write(`${describe(topic)}\n${formatPartitions(topic)}`);
}

/** One object a line. */
async function printJson(topics: readonly Topic[], context: Context): Promise<void> {
  for (const topic of topics) await context.stdout.line(JSON.stringify(toJson(TopicSchema, topic)));
}

function formatTopics(topics: readonly Topic[]): string {
  return formatTable(
    ['TOPIC', numeric('PARTITIONS'), numeric('MESSAGES'), numeric('SIZE'), 'RETENTION', 'DURABILITY'],
    topics.map((topic) => [
      topic.name,
      topic.partitionCount,
      grouped(
        topic.partitions.reduce((sum, partition) => sum + partition.nextOffset - partition.firstOffset, 0n),
      ),
      formatBytes(topic.partitions.reduce((sum, partition) => sum + Number(partition.bytes), 0)),
      describeRetention(topic),
      topic.durability === 0 ? 'default' : durability.format(topic.durability),
    ]),
  );
}

function formatPartitions({ partitions }: Topic): string {
  return formatTable(
    [numeric('PARTITION'), numeric('FIRST'), numeric('NEXT'), numeric('MESSAGES'), numeric('SIZE')],
    partitions.map(({ partition, firstOffset, nextOffset, bytes: size }) => [
      partition,
      firstOffset,
      nextOffset,
      grouped(nextOffset - firstOffset),
      formatBytes(Number(size)),
    ]),
  );
}

function describe(topic: Topic): string {
  const { backlogLimit } = topic;
  const backlog = [
    ...(backlogLimit && backlogLimit.maxBytes > 0n ? [formatBytes(Number(backlogLimit.maxBytes))] : []),
    ...(backlogLimit && backlogLimit.maxMessages > 0n
      ? [`${grouped(backlogLimit.maxMessages)} messages`]
      : []),
  ];
  const full = backlogLimit === undefined ? '' : `, then ${whenFull.format(backlogLimit.whenFull)}`;
  return [
    `topic       ${topic.name}`,
    `durability  ${topic.durability === 0 ? "the broker's default" : durability.format(topic.durability)}`,
    `retention   ${describeRetention(topic)}`,
    `backlog     ${backlog.length === 0 ? 'no limit' : backlog.join(' or ') + full}`,
    '',
  ].join('\n');
}

async function hintAtRetention(topic: Topic, context: Context): Promise<void> {
  if (describeRetention(topic) !== forEver) return;
  await context.stderr.line(
    `topic ${topic.name} has no retention limit: its messages fill the disk until producers are held\n` +
      `  set one: sluice topic update ${topic.name} --retention-age 7d (or --retention-bytes, --until-acknowledged)`,
  );
}

const forEver = 'for ever';

function describeRetention({ retention }: Topic): string {
  if (retention === undefined) return forEver;
  const ageMs = retention.maxAge === undefined ? 0 : durationMs(retention.maxAge);
  const parts = [
    ...(retention.untilAcknowledged ? ['until acknowledged'] : []),
    ...(ageMs > 0 ? [formatDuration(ageMs)] : []),
    ...(retention.maxBytes > 0n ? [formatBytes(Number(retention.maxBytes))] : []),
  ];
  if (parts.length === 0) return forEver;
  return `${parts.join(', ')}${retention.dropUnacknowledged ? ', settled or not' : ''}`;
}

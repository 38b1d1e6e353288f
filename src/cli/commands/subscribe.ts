import type { SluiceClient } from '@sluice/client';
import { limits } from '../../base/limits.js';
import { count, duration, text } from '../../config/kinds.js';
import { type Context, defineCommand } from '../command.js';
import { connectionParameters, promptCall, withClient } from '../connection.js';
import { Consumption } from '../consume/consumption.js';
import { formatHelp, messageFormat } from '../consume/message-format.js';
import { ExitCode, Reported, UsageError } from '../exit.js';
import { operand, toggle, type ValuesOf, value, valueOr } from '../parameters.js';
import { startPosition } from '../positions.js';
import { grouped } from '../table.js';

const parameters = {
  topic: operand(text('<topic>'), 'Topic to consume'),
  subscription: operand(text('<subscription>'), 'Subscription to consume; created if it does not exist'),
  format: valueOr(messageFormat, messageFormat.parse('payload'), 'What to print of a message'),
  json: toggle('The same as --format json'),
  start: value(
    startPosition,
    'Where a new subscription starts: earliest (the default), latest, offset:<n>, time:<ISO>',
  ),
  limit: value(count({ min: 1 }), 'End after this many messages'),
  untilCaughtUp: toggle('End once every message of the subscription is settled'),
  exitWhenIdle: value(duration({ min: 1 }), 'End when no message has arrived for this long'),
  noAck: toggle(
    'Acknowledge nothing. Printed messages stay leased while the command runs; then they are ' +
      'delivered again, and no attempt is counted',
  ),
  maxOutstanding: valueOr(
    count({ min: 1, max: 2 ** 32 - 1 }),
    limits.defaultOutstandingMessages,
    'Messages that may be delivered and not yet printed',
  ),
  consumerId: value(text('<id>'), 'A name for people, shown by `sluice consumers` (default: the process id)'),
  quiet: toggle('No summary at the end'),
  ...connectionParameters,
} as const;

type Values = ValuesOf<typeof parameters>;

export const subscribe = defineCommand({
  path: 'subscribe',
  summary: 'Print the messages of a subscription and acknowledge them',
  notes: [
    'A message is acknowledged when the reader of the output has taken it. A file or a terminal takes everything that is ' +
      'printed. A pipe holds up to 64 KiB that its reader has not read, and does not report it: a message counts as taken ' +
      'when as much has been printed after it, or when the reader still exists a quarter of a second later; the ' +
      'last newline is printed that late too. So a reader that ends early, such as `head`, loses nothing: messages that are not ' +
      'acknowledged are delivered again, and no attempt is counted. Messages that a reader leaves in the pipe for longer and ' +
      'then does not read are lost: use a client library for work that may fail.',
    'Several of these commands on one subscription share its messages.',
    formatHelp,
  ],
  examples: [
    'sluice subscribe orders billing',
    'sluice subscribe words count --json --until-caught-up > words.jsonl',
    "sluice subscribe orders billing --format '{partition}:{offset} {key} {payload}' --limit 10",
  ],
  parameters,
  async run(values, context) {
    if (values.noAck && values.untilCaughtUp) {
      throw new UsageError('--until-caught-up waits for acknowledgements, which --no-ack does not send');
    }
    await withClient(values, context, (client) => consume(values, context, client));
  },
});

async function consume(values: Values, context: Context, client: SluiceClient): Promise<void> {
  const { topic, subscription } = values;
  const consumption = new Consumption(
    client,
    {
      topic,
      subscription,
      consumerId: values.consumerId ?? `sluice-${process.pid}`,
      start: values.start,
      maxOutstanding: values.maxOutstanding,
      format: values.json ? messageFormat.parse('json') : values.format,
      isAcknowledging: !values.noAck,
      limit: values.limit ?? Number.POSITIVE_INFINITY,
      idleMs: values.exitWhenIdle,
      isCaughtUp: values.untilCaughtUp
        ? async () => {
            const response = await client.admin.getSubscription(
              { topic, name: subscription },
              promptCall(context),
            );
            return (response.subscription?.partitions ?? []).every(
              (partition) => partition.backlogMessageCount === 0n && partition.outstandingMessageCount === 0n,
            );
          }
        : undefined,
      checkEveryMs: limits.cliBacklogCheckEveryMs,
    },
    context.clock,
    context.stdout,
  );
  const { messageCount, staleCount } = await consumption.run(context.interrupted);
  if (!values.quiet) {
    const stale =
      staleCount === 0n
        ? ''
        : `; ${grouped(staleCount)} had been taken back before they were acknowledged, and are delivered again`;
    const what = values.noAck ? 'printed' : 'printed and acknowledged';
    await context.stderr.line(
      `${what} ${grouped(messageCount)} message${messageCount === 1 ? '' : 's'}${stale}`,
    );
  }
  if (context.interrupted.aborted) throw new Reported(ExitCode.interrupted);
}

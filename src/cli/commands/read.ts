import { count, text } from '../../config/kinds.js';
import { defineCommand } from '../command.js';
import { connectionParameters, withClient } from '../connection.js';
import { formatHelp, formatRun, messageFormat } from '../consume/message-format.js';
import { operand, toggle, value, valueOr } from '../parameters.js';
import { startPosition } from '../positions.js';

export const read = defineCommand({
  path: 'read',
  summary: 'Print the messages of a topic, without a subscription',
  notes: [
    'Reading leases and acknowledges nothing, and does not affect consumers. Several partitions come interleaved, each in order.',
    formatHelp,
  ],
  examples: [
    'sluice read orders',
    'sluice read orders --partition 3 --start offset:1200 --limit 20 --json',
    'sluice read orders --start time:2026-01-31T12:00:00Z --follow',
  ],
  parameters: {
    topic: operand(text('<topic>'), 'Topic to read'),
    partition: value(count(), 'Only this partition'),
    start: value(startPosition, 'Where to start: earliest (the default), latest, offset:<n>, time:<ISO>'),
    limit: value(count({ min: 1 }), 'End after this many messages'),
    follow: toggle('Wait for new messages instead of ending'),
    format: valueOr(messageFormat, messageFormat.parse('payload'), 'What to print of a message'),
    json: toggle('The same as --format json'),
    ...connectionParameters,
  },
  async run(values, context) {
    const format = values.json ? messageFormat.parse('json') : values.format;
    const { topic, partition, start } = values;
    await withClient(values, context, async (client) => {
      const responses = client.broker.read(
        {
          topic,
          ...(partition !== undefined && { partition }),
          ...(start !== undefined && { start }),
          limit: BigInt(values.limit ?? 0),
          follow: values.follow,
        },
        { signal: context.interrupted },
      );
      for await (const { runs } of responses) {
        for (const run of runs) {
          await context.stdout.write(formatRun(format, topic, run, run.messages.length).text);
        }
      }
    });
  },
});

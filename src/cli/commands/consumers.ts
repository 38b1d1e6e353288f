import { toJson } from '@bufbuild/protobuf';
import { timestampDate } from '@bufbuild/protobuf/wkt';
import { ConsumerSchema } from '@sluice/client/api';
import { formatBytes, text } from '../../config/kinds.js';
import { defineCommand } from '../command.js';
import { connectionParameters, promptCall, withClient } from '../connection.js';
import { waitReason } from '../enums.js';
import { optionalOperand, toggle } from '../parameters.js';
import { elapsed, formatTable, grouped, numeric } from '../table.js';

export const consumers = defineCommand({
  path: 'consumers',
  summary: 'List the connected consumers, with the messages that they hold and why they wait',
  examples: ['sluice consumers', 'sluice consumers orders billing --json'],
  parameters: {
    topic: optionalOperand(text('<topic>'), 'Only of this topic'),
    subscription: optionalOperand(text('<subscription>'), 'Only of this subscription'),
    json: toggle('Print JSON, as protobuf writes it'),
    ...connectionParameters,
  },
  async run(values, context) {
    await withClient(values, context, async ({ admin }) => {
      const request = { topic: values.topic ?? '', subscription: values.subscription ?? '' };
      const { consumers } = await admin.listConsumers(request, promptCall(context));
      if (values.json) {
        for (const consumer of consumers) {
          await context.stdout.line(JSON.stringify(toJson(ConsumerSchema, consumer)));
        }
        return;
      }
      const rows = consumers.map((consumer) => [
        consumer.topic,
        consumer.subscription,
        consumer.consumerId === '' ? consumer.sessionId : consumer.consumerId,
        consumer.peer,
        consumer.connectTime === undefined ? '-' : timestampDate(consumer.connectTime).toISOString(),
        `${grouped(consumer.outstandingMessageCount)}/${grouped(consumer.flowControl?.maxOutstandingMessages ?? 0)}`,
        formatBytes(Number(consumer.outstandingBytes)),
        consumer.partitions.join(',') || '-',
        waitReason.format(consumer.waitReason),
        elapsed(consumer.waitTime),
      ]);
      const columns = ['TOPIC', 'SUBSCRIPTION', 'CONSUMER', 'PEER', 'SINCE'];
      await context.stdout.write(
        formatTable(
          [...columns, numeric('OUTSTANDING'), numeric('BYTES'), 'PARTITIONS', 'WAITS FOR', numeric('FOR')],
          rows,
        ),
      );
    });
  },
});

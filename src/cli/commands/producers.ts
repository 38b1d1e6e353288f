import { toJson } from '@bufbuild/protobuf';
import { timestampDate } from '@bufbuild/protobuf/wkt';
import { ProducerSchema } from '@sluice/client/api';
import { text } from '../../config/kinds.js';
import { defineCommand } from '../command.js';
import { connectionParameters, promptCall, withClient } from '../connection.js';
import { holdReason } from '../enums.js';
import { optionalOperand, toggle } from '../parameters.js';
import { elapsed, formatTable, grouped, numeric } from '../table.js';

export const producers = defineCommand({
  path: 'producers',
  summary: 'List the streams that publish, and why they are held',
  examples: ['sluice producers', 'sluice producers orders --json'],
  parameters: {
    topic: optionalOperand(text('<topic>'), 'Only of this topic'),
    json: toggle('Print JSON, as protobuf writes it'),
    ...connectionParameters,
  },
  async run(values, context) {
    await withClient(values, context, async ({ admin }) => {
      const { producers } = await admin.listProducers({ topic: values.topic ?? '' }, promptCall(context));
      if (values.json) {
        for (const producer of producers) {
          await context.stdout.line(JSON.stringify(toJson(ProducerSchema, producer)));
        }
        return;
      }
      const rows = producers.map((producer) => [
        producer.topic || '-',
        producer.producerId || '-',
        producer.peer,
        producer.connectTime === undefined ? '-' : timestampDate(producer.connectTime).toISOString(),
        grouped(producer.messageCount),
        grouped(producer.pendingRequestCount),
        holdReason.format(producer.holdReason),
        elapsed(producer.holdTime),
      ]);
      const columns = ['TOPIC', 'PRODUCER', 'PEER', 'SINCE', numeric('MESSAGES'), numeric('PENDING')];
      await context.stdout.write(formatTable([...columns, 'HELD BY', numeric('FOR')], rows));
    });
  },
});

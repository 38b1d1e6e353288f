import { toJson } from '@bufbuild/protobuf';
import { type GetMessageResponse, GetMessageResponseSchema } from '@sluice/client/api';
import { count, text } from '../../config/kinds.js';
import { defineCommand } from '../command.js';
import { connectionParameters, promptCall, withClient } from '../connection.js';
import { formatRun, messageFormat } from '../consume/message-format.js';
import { messageState } from '../enums.js';
import { operand, toggle } from '../parameters.js';
import { formatTable, numeric } from '../table.js';

export const messageGet = defineCommand({
  path: 'message get',
  summary: 'Show one message, and its state in every subscription',
  notes: [
    'A message that retention has removed still has a state: DONE if the subscription has settled or skipped it, ' +
      'FAILED if it was dead-lettered.',
  ],
  examples: ['sluice message get orders 3 1200'],
  parameters: {
    topic: operand(text('<topic>'), 'Topic of the message'),
    partition: operand({ ...count(), placeholder: '<partition>' }, 'Partition of the message'),
    offset: operand({ ...count(), placeholder: '<offset>' }, 'Offset of the message'),
    json: toggle('Print JSON, as protobuf writes it: key and payload in base64'),
    ...connectionParameters,
  },
  async run(values, context) {
    const { topic, partition } = values;
    await withClient(values, context, async ({ admin }) => {
      const request = { topic, partition, offset: BigInt(values.offset) };
      const response = await admin.getMessage(request, promptCall(context));
      if (values.json) {
        await context.stdout.line(JSON.stringify(toJson(GetMessageResponseSchema, response)));
      } else {
        await context.stdout.write(describe(request, response));
      }
    });
  },
});

interface Place {
  readonly topic: string;
  readonly partition: number;
  readonly offset: bigint;
}

/** The message as one line of JSON, with readable text where possible; then a row for each subscription. */
function describe({ topic, partition, offset }: Place, { run, statuses }: GetMessageResponse): string {
  const message =
    run === undefined
      ? `retention has removed message ${offset} of partition ${partition} of ${topic}\n`
      : formatRun(messageFormat.parse('json'), topic, run, 1).text.toString();
  const table = formatTable(
    ['SUBSCRIPTION', 'STATE', numeric('FAILED ATTEMPTS'), 'SESSION'],
    statuses.map(({ subscription, state, failedAttempts, sessionId }) => [
      subscription,
      messageState.format(state),
      failedAttempts,
      sessionId === '' ? '-' : sessionId,
    ]),
  );
  return `${message}\n${table}`;
}

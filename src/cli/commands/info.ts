import { toJson } from '@bufbuild/protobuf';
import { timestampDate } from '@bufbuild/protobuf/wkt';
import { GetServerInfoResponseSchema } from '@sluice/client/api';
import { formatBytes } from '../../config/kinds.js';
import { defineCommand } from '../command.js';
import { connectionParameters, promptCall, withClient } from '../connection.js';
import { durability } from '../enums.js';
import { toggle } from '../parameters.js';

export const info = defineCommand({
  path: 'info',
  summary: 'Show the version and the limits of the broker',
  examples: ['sluice info', 'sluice info --server broker.internal:7070 --json'],
  parameters: { json: toggle('Print JSON, as protobuf writes it'), ...connectionParameters },
  async run(values, context) {
    await withClient(values, context, async ({ admin }) => {
      const response = await admin.getServerInfo({}, promptCall(context));
      if (values.json) {
        await context.stdout.line(JSON.stringify(toJson(GetServerInfoResponseSchema, response)));
        return;
      }
      const started =
        response.startTime === undefined ? '-' : timestampDate(response.startTime).toISOString();
      const lines = [
        `version               ${response.version}`,
        `started               ${started}`,
        `max partition count   ${response.maxPartitionCount}`,
        `max message bytes     ${formatBytes(Number(response.maxMessageBytes))}`,
        `max request bytes     ${formatBytes(Number(response.maxRequestBytes))}`,
        `default durability    ${durability.format(response.defaultDurability)}`,
        `features              ${response.features.join(', ') || '-'}`,
      ];
      await context.stdout.line(lines.join('\n'));
    });
  },
});

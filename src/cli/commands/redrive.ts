import { count, type Kind, text, ValueFault } from '../../config/kinds.js';
import { defineCommand } from '../command.js';
import { connectionParameters, withClient } from '../connection.js';
import { operand, toggle, value } from '../parameters.js';
import { grouped } from '../table.js';

const rate: Kind<number> = {
  placeholder: '<n>',
  parse(given) {
    const parsed = Number(given);
    if (!/^\d+(\.\d+)?$/.test(given) || parsed <= 0) throw new ValueFault('a number above 0');
    return parsed;
  },
  format: String,
};

export const redrive = defineCommand({
  path: 'redrive',
  summary: 'Send dead letters back to the subscription that gave them up',
  examples: [
    'sluice redrive orders billing --dry-run',
    'sluice redrive orders billing --limit 100 --rate 10',
  ],
  parameters: {
    topic: operand(text('<topic>'), 'Topic of the subscription'),
    subscription: operand(text('<subscription>'), 'The subscription that gave the messages up'),
    dryRun: toggle('Only say what would be sent back'),
    limit: value(count({ min: 1 }), 'At most this many'),
    rate: value(rate, 'Messages per second'),
    json: toggle('Print JSON'),
    ...connectionParameters,
  },
  async run(values, context) {
    const { topic, subscription, dryRun } = values;
    await withClient(values, context, async (client) => {
      const responses = client.admin.redriveDeadLetters(
        { topic, subscription, dryRun, limit: BigInt(values.limit ?? 0), rate: values.rate ?? 0 },
        { signal: context.interrupted },
      );
      let redriven = 0n;
      let remaining = 0n;
      for await (const response of responses) {
        redriven = response.redrivenCount;
        remaining = response.remainingCount;
      }
      const counts = { redrivenCount: Number(redriven), remainingCount: Number(remaining) };
      if (values.json) await context.stdout.line(JSON.stringify({ topic, subscription, dryRun, ...counts }));
      else {
        const what = dryRun ? 'would be sent back' : 'sent back';
        await context.stdout.line(`${grouped(redriven)} dead letters ${what}, ${grouped(remaining)} remain`);
      }
    });
  },
});

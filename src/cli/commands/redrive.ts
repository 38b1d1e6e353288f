import { count, type Kind, text, ValueFault } from '../../config/kinds.js';
import { defineCommand } from '../command.js';
import { connectionParameters, withClient } from '../connection.js';
import { operand, toggle, value } from '../parameters.js';
import { Progress } from '../progress.js';
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

interface Counts {
  readonly redrivenCount: number;
  readonly remainingCount: number;
}

export const redrive = defineCommand({
  path: 'redrive',
  summary: 'Send dead letters back to the subscription that gave them up',
  notes: [
    'Nobody else gets them. Interrupt it and run it again as you like: it goes on where it was, and nothing is sent back twice.',
    'A subscription that was deleted and made again has no dead letters: consume those of the earlier one from the ' +
      'dead-letter topic.',
  ],
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
      const what = dryRun ? 'would be sent back' : 'sent back';
      let counts: Counts | undefined;
      const describe = () =>
        `${grouped(counts?.redrivenCount ?? 0)} dead letters ${what}, ${grouped(counts?.remainingCount ?? 0)} remain`;
      const progress = context.stderr.isTerminal
        ? new Progress(context.clock, context.stderr, describe)
        : undefined;
      try {
        for await (const { redrivenCount, remainingCount } of responses) {
          counts = { redrivenCount: Number(redrivenCount), remainingCount: Number(remainingCount) };
        }
      } finally {
        await progress?.end();
        // Also where it was interrupted: so far it has come, and there it goes on the next time.
        if (counts !== undefined) {
          const text = values.json ? JSON.stringify({ topic, subscription, dryRun, ...counts }) : describe();
          await context.stdout.line(text);
        }
      }
    });
  },
});

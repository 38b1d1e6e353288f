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
  summary: 'Send dead letters back to the subscription that dead-lettered them',
  notes: [
    'No other subscription gets them. You can interrupt it and run it again: it continues where it stopped, and sends nothing back twice.',
    'A subscription that was deleted and created again has no dead letters: consume those of the earlier one from the ' +
      'dead-letter topic.',
  ],
  examples: [
    'sluice redrive orders billing --dry-run',
    'sluice redrive orders billing --limit 100 --rate 10',
  ],
  parameters: {
    topic: operand(text('<topic>'), 'Topic of the subscription'),
    subscription: operand(text('<subscription>'), 'The subscription that dead-lettered the messages'),
    dryRun: toggle('Only report what would be sent back'),
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
        // Also after an interrupt: the next redrive continues from here.
        if (counts !== undefined) {
          const text = values.json ? JSON.stringify({ topic, subscription, dryRun, ...counts }) : describe();
          await context.stdout.line(text);
        }
      }
    });
  },
});

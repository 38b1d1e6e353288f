import { Durability } from '@sluice/client/api';
import type { Context } from '../command.js';
import { describeFailure, ExitCode } from '../exit.js';
import { grouped } from '../table.js';
import type { SendResult } from './batch-sender.js';

interface PublishValues {
  readonly topic: string;
  readonly json: boolean;
  readonly producerId: string | undefined;
}

interface PublishReceipt extends SendResult {
  readonly skippedCount: number;
  readonly elapsedMs: number;
}

/** What is stored: a sentence on stderr, or the receipt as JSON on stdout. */
export async function reportReceipt(
  { topic, json }: PublishValues,
  context: Context,
  receipt: PublishReceipt,
): Promise<void> {
  const { storedCount, duplicateCount, skippedCount, ranges, elapsedMs } = receipt;
  const durability = durabilityName(receipt.durability);
  if (json) {
    const shown = ranges.map(({ partition, first, last }) => ({
      partition,
      firstOffset: Number(first),
      lastOffset: Number(last),
    }));
    await context.stdout.line(
      JSON.stringify({
        topic,
        messageCount: storedCount,
        duplicateCount,
        skippedCount,
        ...(durability !== undefined && { durability }),
        ranges: shown,
        elapsedMs: Math.round(elapsedMs),
      }),
    );
    return;
  }
  const partitionCount = new Set(ranges.map(({ partition }) => partition)).size;
  const rate = Math.round((storedCount * 1000) / Math.max(1, elapsedMs));
  const facts = [
    `${(elapsedMs / 1000).toFixed(2)} s, ${grouped(rate)}/s`,
    ...(partitionCount > 0 ? [`${partitionCount} partition${partitionCount === 1 ? '' : 's'}`] : []),
    ...(durability === undefined ? [] : [durability]),
    ...(duplicateCount > 0 ? [`${grouped(duplicateCount)} of them stored before`] : []),
    ...(skippedCount > 0 ? [`${grouped(skippedCount)} passed over`] : []),
  ];
  const lines = `${grouped(storedCount)} line${storedCount === 1 ? '' : 's'}`;
  await context.stderr.line(`published ${lines} to ${topic} (${facts.join('; ')})`);
}

/** Which lines are missing, and why. Returns the exit code. */
export async function reportUnstored(
  { producerId }: PublishValues,
  context: Context,
  { unstored, lastSentLine }: SendResult,
): Promise<ExitCode> {
  const cause = unstored[0]!.error;
  const { lines, exitCode } = describeFailure(cause, 'publish');
  const refused = joinRanges(unstored.filter(({ isRefused }) => isRefused));
  const unknown = joinRanges(unstored.filter(({ isRefused }) => !isRefused));
  const advice =
    producerId === undefined
      ? 'with --producer-id, a second run would store nothing twice'
      : 'run the same command with --resume to go on';
  await context.stderr.write(
    [
      `sluice: ${lines[0]}`,
      ...lines.slice(1).map((line) => `  ${line}`),
      ...(refused === '' ? [] : [`  refused, not stored: lines ${refused}`]),
      ...(unknown === '' ? [] : [`  not known to be stored: lines ${unknown}`]),
      `  nothing was sent after line ${lastSentLine}`,
      `  ${advice}`,
      '',
    ].join('\n'),
  );
  return context.interrupted.aborted ? ExitCode.interrupted : exitCode;
}

/** `1001-3000, 5001-6000` */
function joinRanges(lines: readonly { readonly first: number; readonly last: number }[]): string {
  const joined: { first: number; last: number }[] = [];
  for (const { first, last } of lines) {
    const newest = joined.at(-1);
    if (newest !== undefined && newest.last + 1 === first) newest.last = last;
    else joined.push({ first, last });
  }
  return joined.map(({ first, last }) => `${first}-${last}`).join(', ');
}

export function durabilityName(durability: Durability | undefined): 'synced' | 'written' | undefined {
  if (durability === Durability.SYNCED) return 'synced';
  return durability === Durability.WRITTEN ? 'written' : undefined;
}

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

/**
 * Reports what is stored: a sentence on stderr (nothing if nothing was stored), or the receipt as JSON on stdout.
 */
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
  if (storedCount === 0 && receipt.unstored.length > 0) return;
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

/** Reports which lines are missing, and why. Returns the exit code. */
export async function reportUnstored(
  { producerId }: PublishValues,
  context: Context,
  { storedCount, unstored, lastSentLine }: SendResult,
): Promise<ExitCode> {
  const { lines, exitCode } = describeFailure(unstored[0]!.error, 'publish');
  const refused = joinRanges(unstored.filter(({ isRefused }) => isRefused));
  const unknown = joinRanges(unstored.filter(({ isRefused }) => !isRefused));
  const [first, ...details] = lines;
  if (refused !== '') details.push(`refused, and not stored: ${refused}`);
  if (unknown !== '') details.push(`not known to be stored: ${unknown}`);
  // If nothing was stored, the command can simply be run again.
  if (storedCount > 0 || unknown !== '') {
    details.push(`nothing was sent after line ${lastSentLine}`);
    details.push(
      producerId === undefined
        ? 'a second run stores lines twice, unless you use --producer-id'
        : 'run the same command with --resume to continue',
    );
  }
  await context.stderr.write([`sluice: ${first}\n`, ...details.map((line) => `  ${line}\n`)].join(''));
  return context.interrupted.aborted ? ExitCode.interrupted : exitCode;
}

/** `lines 1001-3000, 5001-6000`; empty for none. */
function joinRanges(lines: readonly { readonly first: number; readonly last: number }[]): string {
  const joined: { first: number; last: number }[] = [];
  for (const { first, last } of lines) {
    const newest = joined.at(-1);
    if (newest !== undefined && newest.last + 1 === first) newest.last = last;
    else joined.push({ first, last });
  }
  const isOne = joined.length === 1 && joined[0]!.first === joined[0]!.last;
  const shown = joined
    .map(({ first, last }) => (first === last ? `${first}` : `${first}-${last}`))
    .join(', ');
  return shown === '' ? '' : `${isOne ? 'line' : 'lines'} ${shown}`;
}

export function durabilityName(durability: Durability | undefined): 'synced' | 'written' | undefined {
  if (durability === Durability.SYNCED) return 'synced';
  return durability === Durability.WRITTEN ? 'written' : undefined;
}

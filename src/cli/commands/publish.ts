import { createReadStream } from 'node:fs';
import { type SluiceClient, SluiceError } from '@sluice/client';
import { limits } from '../../base/limits.js';
import { bytes, count, text } from '../../config/kinds.js';
import { type Context, defineCommand } from '../command.js';
import { connectionParameters, pair, promptCall, withClient } from '../connection.js';
import { escapedBytes, escapesHelp } from '../escapes.js';
import { ExitCode, Reported, UsageError } from '../exit.js';
import { list, operand, toggle, type ValuesOf, value, valueOr } from '../parameters.js';
import { clearedLine, Progress } from '../progress.js';
import { BatchSender } from '../publish/batch-sender.js';
import { HoldNotice } from '../publish/hold-notice.js';
import { keyOfLine } from '../publish/line-to-message.js';
import { Publication } from '../publish/publication.js';
import { reportReceipt, reportUnstored } from '../publish/report.js';
import { grouped } from '../table.js';

const parameters = {
  topic: operand(text('<topic>'), 'Topic to publish to'),
  file: value(text('<path>'), 'Read lines from this file instead of stdin'),
  key: value(text('<text>'), 'The key of every line'),
  keySeparator: value(
    escapedBytes,
    `The key comes before the first of these, the payload after it; ${escapesHelp}`,
  ),
  keyField: value(count({ min: 1 }), 'The key is this field, from 1; the payload is the whole line'),
  fieldSeparator: valueOr(
    escapedBytes,
    Buffer.from('\t'),
    `What separates fields for --key-field; ${escapesHelp}`,
  ),
  keyPrefixLength: value(
    count({ min: 1 }),
    'The key is the first n characters; the payload is the whole line',
  ),
  partition: value(count(), 'Publish to this partition instead of routing by key'),
  header: list(pair, 'A header of every message'),
  batchSize: valueOr(
    count({ min: 1, max: limits.maxMessagesPerRequest }),
    limits.cliBatchMessages,
    'Lines of a batch',
  ),
  batchBytes: valueOr(bytes({ min: 1 }), limits.cliBatchBytes, 'Bytes of a batch'),
  producerId: value(text('<id>'), 'Publish every line at most once: line n is message n of this producer'),
  resume: toggle('With --producer-id: skip as many lines as the producer has stored'),
  progress: toggle('Report progress on stderr, even if it is not a terminal'),
  json: toggle('Print the receipt as JSON'),
  ...connectionParameters,
} as const;

type Values = ValuesOf<typeof parameters>;

export const publish = defineCommand({
  path: 'publish',
  summary: 'Publish each line of a file or of stdin as a message',
  notes: [
    'A line is everything up to a line feed, byte for byte: a carriage return before it belongs to the payload. ' +
      'An empty line is an empty message.',
    'With --producer-id, every run claims the producer: another run that still uses the same id is fenced, ' +
      'and ends. If the producer has already stored lines, a run is refused unless --resume says that the input ' +
      'begins with the same lines: they are skipped. Use one producer id for one input.',
    'If the broker holds the stream, because a backlog or its disk is full, the command waits. It reports the reason on ' +
      'stderr after a second, and reports when it continues.',
    'SIGINT or SIGTERM: nothing more is sent, and sent lines have 3 seconds to be stored, even if the broker ' +
      'holds them because a backlog or the disk is full. Then the command reports the lines that may not be stored, ' +
      'and ends with 130.',
  ],
  examples: [
    'echo hello | sluice publish greetings',
    "sluice publish orders --file orders.tsv --key-separator '\\t'",
    'sluice publish words --file words.txt --key-prefix-length 1',
    'sluice publish orders --file orders.tsv --key-field 2 --producer-id import-2026 --resume',
  ],
  parameters,
  async run(values, context) {
    if (values.resume && values.producerId === undefined)
      throw new UsageError('--resume needs --producer-id');
    await withClient(values, context, (client) => publishLines(values, context, client));
  },
});

async function publishLines(values: Values, context: Context, client: SluiceClient): Promise<void> {
  const toKeyed = keyOfLine(values);
  const { maxMessageBytes, maxRequestBytes } = await client.admin.getServerInfo({}, promptCall(context));
  const producer = await claimProducer(values, context, client);
  const startedAtMs = context.clock.monotonicMs();
  const headers = Object.fromEntries(values.header);
  const publication = new Publication({
    keyOfLine: toKeyed,
    headers,
    batchMessages: values.batchSize,
    batchBytes: Math.min(values.batchBytes, Number(maxRequestBytes - maxMessageBytes)),
    maxLineBytes: Number(maxMessageBytes),
    skipLines: values.resume ? Number(producer?.lastSequence ?? 0n) : 0,
  });
  const sender = new BatchSender(client.broker.publishStream(), {
    topic: values.topic,
    partition: values.partition,
    producer,
    maxInFlight: limits.cliBatchesInFlight,
    clock: context.clock,
    interrupted: context.interrupted,
    onReceipt() {
      hold.received();
      if (sender.inFlightCount === 0) publication.flush().catch(() => {});
    },
  });
  const hold = new HoldNotice({
    topic: values.topic,
    producerId: values.producerId ?? '',
    clock: context.clock,
    isWaiting: () => sender.inFlightCount > 0,
    listProducers: async () => (await client.admin.listProducers({}, promptCall(context))).producers,
    // The work continues even if the notice can't be written.
    say: (line) => void context.stderr.line(`${clearedLine(context)}sluice: ${line}`).catch(() => {}),
  });
  const describe = (elapsedMs: number) =>
    `${grouped(sender.storedCount)} lines stored, ${perSecond(sender.storedCount, elapsedMs)}, ` +
    `${sender.inFlightCount} batches under way`;
  const progress =
    values.progress || context.stderr.isTerminal
      ? new Progress(context.clock, context.stderr, describe)
      : undefined;

  let inputFailure: unknown;
  const input = values.file === undefined ? context.stdin : openFile(values.file);
  await publication.run(input, sender, context.interrupted).catch((error: unknown) => {
    inputFailure = error;
  });
  const result = await sender.finish();
  hold.end(result.unstored.length === 0);
  await progress?.end();
  const elapsedMs = context.clock.monotonicMs() - startedAtMs;
  const { skippedCount } = publication;
  await reportReceipt(values, context, { ...result, skippedCount, elapsedMs });
  if (result.unstored.length > 0) {
    throw new Reported(await reportUnstored(values, context, result));
  }
  if (inputFailure !== undefined) throw inputFailure;
  if (context.interrupted.aborted) throw new Reported(ExitCode.interrupted);
  const storedBefore = values.resume ? Number(producer?.lastSequence ?? 0n) : 0;
  if (skippedCount < storedBefore) {
    throw new Error(
      `producer ${values.producerId} has stored ${grouped(storedBefore)} lines, and the input has ` +
        `${grouped(skippedCount)}: it is not the input that the producer began`,
    );
  }
}

/**
 * Claims the producer and returns its position; undefined for an anonymous producer. Claims nothing if the run
 * would be refused.
 */
async function claimProducer(values: Values, context: Context, client: SluiceClient) {
  const { topic, producerId } = values;
  if (producerId === undefined) return undefined;
  checkResume(values, await storedLines(topic, producerId, context, client));
  const { epoch, lastSequence } = await client.broker.openProducer(
    { topic, producerId },
    promptCall(context),
  );
  // Another run may have stored lines before the claim.
  checkResume(values, lastSequence);
  return { producerId, epoch, lastSequence };
}

async function storedLines(topic: string, producerId: string, context: Context, client: SluiceClient) {
  try {
    return (await client.broker.getProducer({ topic, producerId }, promptCall(context))).lastSequence;
  } catch (error) {
    const { reason } = SluiceError.from(error);
    if (reason !== 'PRODUCER_NOT_FOUND' && reason !== 'TOPIC_NOT_FOUND') throw error;
    return 0n;
  }
}

/** Lines of another input would be mistaken for the stored ones. */
function checkResume({ producerId, topic, resume }: Values, lineCount: bigint): void {
  if (resume || lineCount === 0n) return;
  const lines = `${grouped(lineCount)} line${lineCount === 1n ? '' : 's'}`;
  throw new UsageError(
    `producer ${producerId} has stored ${lines} in ${topic}: --resume skips the first ${lines} of the input; ` +
      'another input needs another --producer-id',
  );
}

async function* openFile(path: string): AsyncGenerator<Uint8Array> {
  try {
    yield* createReadStream(path, { highWaterMark: limits.cliInputChunkBytes });
  } catch (error) {
    throw new Error(`${path} can't be read: ${error instanceof Error ? error.message : error}`);
  }
}

function perSecond(lines: number, elapsedMs: number): string {
  return `${grouped(Math.round((lines * 1000) / Math.max(1, elapsedMs)))}/s`;
}

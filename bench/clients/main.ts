import { mkdirSync, writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { systemClock } from '../../src/base/clock.js';
import {
  type ClientLanguage,
  clientLanguages,
  makeClient,
  missingTools,
} from '../../test/support/client-languages.js';
import { runInterop } from '../../test/support/interop-program.js';
import { repositoryRoot } from '../../test/support/repository.js';
import { createSubscription, createTopic, withBroker } from '../bench-case.js';
import { describeMachine } from '../report.js';

const usage = `Measures the clients of clients/, each against a fresh broker on this machine.

make bench-clients, or: node dist/bench/clients/main.js [language ...] [options]

  --seconds N   how long each rate is measured, about (8)
  --runs N      how often each is measured; the table has the median (3)
  --json FILE   where the numbers go (bench/results/clients-<time>.json)
`;

const { values: flags, positionals: names } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string', default: '8' },
    runs: { type: 'string', default: '3' },
    json: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});

const partitionCount = 8;
/** Sent to find out how many make a run of the wanted length; not measured. */
const trialMessages = 200_000;
const payloadSizes = [100, 1_024] as const;
const latencyRate = 10_000;
/** Before a latency is measured, at the same rate: programs that compile as they run are not themselves before. */
const warmupSeconds = 5;
const subscription = 'bench';

interface Measured {
  readonly language: string;
  readonly publishPerSecond: Record<string, number[]>;
  readonly consumePerSecond: Record<string, number[]>;
  /** At 10,000 messages a second: from when a message was due until its receipt, and until its handler. */
  readonly publishP99Ms: number[];
  readonly deliverP99Ms: number[];
}

/** Publishes and then consumes so many messages on a fresh broker. */
async function measureRates(
  language: ClientLanguage,
  payloadBytes: number,
  messages: number,
): Promise<{ readonly publish: number; readonly consume: number }> {
  return withBroker(async ({ address }) => {
    const topic = 'bench';
    await createTopic(address, { name: topic, partitionCount });
    await createSubscription(address, { topic, name: subscription });
    const where = ['--server', address, '--topic', topic, '--messages', messages, '--timeout', 300];
    const publish = await runInterop(language, 'bench', 'publish', ...where, '--payload-bytes', payloadBytes);
    const consume = await runInterop(language, 'bench', 'consume', ...where, '--subscription', subscription);
    return { publish: rateOf(publish, messages), consume: rateOf(consume, messages) };
  });
}

function rateOf({ messages, seconds }: Readonly<Record<string, unknown>>, expected: number): number {
  if (messages !== expected) throw new Error(`${messages} messages were counted, not ${expected}`);
  return expected / Number(seconds);
}

async function measureLatency(language: ClientLanguage, seconds: number): Promise<[number, number]> {
  return withBroker(async ({ address }) => {
    const topic = 'latency';
    await createTopic(address, { name: topic, partitionCount });
    const where = ['--server', address, '--topic', topic, '--subscription', subscription];
    const load = ['--rate', latencyRate, '--seconds', seconds, '--warmup', warmupSeconds];
    const result = await runInterop(
      language,
      'bench',
      'latency',
      ...where,
      ...load,
      '--payload-bytes',
      payloadSizes[0],
    );
    const { messages, publish, deliver } = result as unknown as {
      readonly messages: number;
      readonly publish: { readonly p99Ms: number };
      readonly deliver: { readonly p99Ms: number };
    };
    if (messages !== latencyRate * seconds) {
      throw new Error(`${language.name} counted ${messages} messages in ${seconds} s`);
    }
    return [publish.p99Ms, deliver.p99Ms];
  });
}

async function measure(language: ClientLanguage, seconds: number, runs: number): Promise<Measured> {
  const measured: Measured = {
    language: language.name,
    publishPerSecond: {},
    consumePerSecond: {},
    publishP99Ms: [],
    deliverP99Ms: [],
  };
  for (const payloadBytes of payloadSizes) {
    const trial = await measureRates(language, payloadBytes, trialMessages);
    const messages = Math.ceil((trial.publish * seconds) / 100_000) * 100_000;
    const publish: number[] = [];
    const consume: number[] = [];
    for (let run = 0; run < runs; run++) {
      const rates = await measureRates(language, payloadBytes, messages);
      publish.push(rates.publish);
      consume.push(rates.consume);
      console.error(
        `  ${payloadBytes} B, ${messages} messages: published ${round(rates.publish)}/s, consumed ${round(rates.consume)}/s`,
      );
    }
    measured.publishPerSecond[payloadBytes] = publish;
    measured.consumePerSecond[payloadBytes] = consume;
  }
  for (let run = 0; run < runs; run++) {
    const [publish, deliver] = await measureLatency(language, seconds);
    measured.publishP99Ms.push(publish);
    measured.deliverP99Ms.push(deliver);
    console.error(
      `  p99 at ${latencyRate}/s: receipt ${publish.toFixed(1)} ms, handler ${deliver.toFixed(1)} ms`,
    );
  }
  return measured;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? Number.NaN;
}

function round(rate: number): string {
  return (Math.round(rate / 1_000) * 1_000).toLocaleString('en-US');
}

/** In the form in which clients/README.md has it. */
function formatTable(all: readonly Measured[]): string {
  const [small, large] = payloadSizes;
  const cells = all.map((each) => [
    each.language,
    round(median(each.publishPerSecond[small]!)),
    round(median(each.consumePerSecond[small]!)),
    round(median(each.publishPerSecond[large]!)),
    round(median(each.consumePerSecond[large]!)),
    `${median(each.publishP99Ms).toFixed(1)} ms`,
    `${median(each.deliverP99Ms).toFixed(1)} ms`,
  ]);
  const head = [
    '',
    'published/s, 100 B',
    'consumed/s',
    'published/s, 1 KiB',
    'consumed/s',
    `p99 receipt at ${latencyRate.toLocaleString('en-US')}/s`,
    'p99 handler',
  ];
  return [head, head.map(() => '---'), ...cells].map((line) => `| ${line.join(' | ')} |`).join('\n');
}

async function main(): Promise<void> {
  const [seconds, runs] = [Number(flags.seconds), Number(flags.runs)];
  if (!(seconds > 0 && runs > 0)) throw new Error('--seconds and --runs are numbers above 0');
  const unknown = names.filter((name) => !clientLanguages.some((language) => language.name === name));
  if (unknown.length > 0) throw new Error(`no client ${unknown.join(', ')}; see --help`);
  const loadBefore = loadavg();
  const results: Measured[] = [];
  for (const language of clientLanguages) {
    if (names.length > 0 && !names.includes(language.name)) continue;
    const missing = await missingTools(language);
    if (missing.length > 0) {
      console.error(`${language.name}: skipped, ${missing.join(' and ')} is not there`);
      continue;
    }
    console.error(language.name);
    await makeClient(language, 'build');
    results.push(await measure(language, seconds, runs));
  }
  const time = new Date(systemClock.wallMs()).toISOString().replace(/[:.]/g, '-');
  const file = flags.json ?? join(repositoryRoot, 'bench/results', `clients-${time}.json`);
  mkdirSync(join(file, '..'), { recursive: true });
  const report = { time, machine: { ...describeMachine(), loadBefore }, seconds, runs, results };
  writeFileSync(file, `${JSON.stringify(report, null, 2)}\n`);
  console.log(formatTable(results));
}

if (flags.help) console.log(usage);
else await main();

import { loadavg } from 'node:os';
import { systemClock } from '../../src/base/clock.js';
import { KiB, MiB, secondMs } from '../../src/base/units.js';
import { BrokerProcess } from '../../test/support/broker-process.js';
import { SlowDisk } from '../../test/support/slow-disk.js';
import { appendedCount, assertEqual, createSubscription, createTopic } from '../bench-case.js';
import { type Sample, SampleLog } from '../load/samples.js';
import { runInWorker } from '../load-worker.js';
import { count, type Row } from '../report.js';
import {
  calmMs,
  flowTopic,
  type Phases,
  partitionCount,
  retainedBytes,
  type Scene,
  storedTopic,
  type World,
} from './scene.js';
import { drawPlot, toRate } from './svg.js';
import { bar, type Comparison, compared, fullRate, peakBetween, rateBetween, recoveryMs } from './verdict.js';

const sampleEveryMs = 100;
/** What the reader reads, over and over. */
const storedBytes = 256 * MiB;
const subscription = 'fast';
const shape = {
  minPayloadBytes: 1_000,
  maxPayloadBytes: 1_000,
  requestBytes: 64 * KiB,
  keyCount: 0,
  poolRequests: 64,
  seed: 1,
};

/** When a trouble came and went, by the wall clock; before it the others were alone. */
interface Trouble {
  readonly aloneFromMs: number;
  readonly beginsMs: number;
  readonly stalledMs: number;
  readonly endedMs: number;
}

export interface Played {
  readonly row: Row;
  readonly plot: string;
  /** What of the bar was missed, in words. */
  readonly misses: readonly string[];
}

/** Plays a scene on a broker of its own and holds it against the bar. Rejects where messages were lost or doubled. */
export async function play(scene: Scene, phases: Phases): Promise<Played> {
  const disk = scene.needsSlowDisk === true ? SlowDisk.create() : undefined;
  if (scene.needsSlowDisk === true && disk === undefined)
    throw new Error('there is no gcc to make a slow disk');
  const broker = await BrokerProcess.start({ args: scene.brokerArgs ?? [], env: disk?.env ?? {} });
  try {
    return await playOn(scene, phases, { broker, disk });
  } catch (error) {
    console.error(broker.tail());
    throw error;
  } finally {
    await broker.dispose();
    disk?.dispose();
  }
}

async function prepare(scene: Scene, world: World): Promise<void> {
  const { address } = world.broker;
  const { topic, dropsUnacknowledged: dropUnacknowledged = false } = scene;
  const maxBytes = BigInt(scene.retainedBytes ?? retainedBytes);
  await createTopic(address, {
    name: flowTopic,
    partitionCount,
    retention: { maxBytes, dropUnacknowledged },
    ...topic,
  });
  // Longer than any trouble: what a consumer that stops still holds must be its own when it goes on.
  const ackDeadline = { seconds: 600n };
  await createSubscription(address, { topic: flowTopic, name: subscription, ackDeadline });
  if (scene.others === 'reader') await fill(address, storedTopic, storedBytes);
  await scene.prepare?.(world);
}

/** Begins and ends the trouble of the scene in each round. */
async function makeTroubles(
  scene: Scene,
  { rounds, aloneMs, troubleMs }: Phases,
  world: World,
  aloneFromMs: number,
): Promise<{ troubles: readonly Trouble[]; seen: string | undefined }> {
  const troubles: Trouble[] = [];
  let seen: string | undefined;
  for (let fromMs = aloneFromMs; troubles.length < rounds; ) {
    const beginsMs = fromMs + aloneMs;
    await until(beginsMs);
    await scene.begin?.(world);
    const begunMs = systemClock.wallMs();
    // A stall does not take effect at once: the first second belongs to neither side.
    const stalledMs = begunMs + 1_000;
    await until(begunMs + troubleMs);
    const endedMs = systemClock.wallMs();
    seen = await scene.end?.(world);
    troubles.push({ aloneFromMs: fromMs, beginsMs, stalledMs, endedMs });
    fromMs = systemClock.wallMs() + calmMs;
  }
  return { troubles, seen };
}

/** What of the bar was missed, in words. */
function missesOf(
  scene: Scene,
  { growth, othersShare, recovery }: { growth: number; othersShare: number; recovery: number },
): string[] {
  const misses: string[] = [];
  if (growth > scene.allowedBytes + bar.growthBytes) misses.push('memory');
  if (othersShare < bar.othersShare) misses.push('the others');
  if (recovery > bar.recoveryMs) misses.push('recovery');
  return misses;
}

async function playOn(scene: Scene, phases: Phases, world: World): Promise<Played> {
  const { broker } = world;
  const { address } = broker;
  const { rounds, warmupMs, aloneMs, troubleMs, afterMs } = phases;
  const turnMs = scene.turnMs ?? 1 * secondMs;
  const totalMs = warmupMs + rounds * (aloneMs + troubleMs + turnMs) + (rounds - 1) * calmMs + afterMs;
  await prepare(scene, world);

  const rss = new SampleLog(sampleEveryMs, () => broker.rssBytes());
  const producing = runInWorker('publish', {
    address,
    shape: { topic: flowTopic, ...shape },
    connections: 4,
    streams: 8,
    requestsUnderWay: 16,
    warmupMs: 0,
    until: { kind: 'time', measureMs: totalMs },
    sampleEveryMs,
  });
  const consuming = started((onRunning) =>
    runInWorker(
      'consume',
      {
        address,
        topic: flowTopic,
        subscription,
        maxMessages: 20_000,
        maxBytes: 16 * MiB,
        durationMs: totalMs,
        sampleEveryMs,
        ...scene.consumers(phases),
      },
      onRunning,
    ),
  );
  const reading =
    scene.others === 'reader'
      ? runInWorker('read', { address, topic: storedTopic, storedBytes, durationMs: totalMs, sampleEveryMs })
      : undefined;
  await consuming.running;
  const beginMs = systemClock.wallMs();
  const aloneFromMs = beginMs + warmupMs;
  const { troubles, seen } = await makeTroubles(scene, phases, world, aloneFromMs);

  const published = await producing;
  const consumed = await consuming.result;
  const read = await reading;
  const memory = rss.stop();
  assertEqual('stored messages', await appendedCount(address, flowTopic), published.messageCount);

  const producers = published.samples;
  const others = read?.samples ?? consumed.fast;
  const first = troubles[0]!;
  const endedMs = troubles.at(-1)!.endedMs;
  if ((producers.at(-1)?.atMs ?? 0) < endedMs || (others.at(-1)?.atMs ?? 0) < endedMs) {
    throw new Error('the load was over before the trouble: coming and going took too long');
  }
  const turns = (samples: readonly Sample[]) =>
    troubles.map((each) => ({
      alone: rateBetween(samples, each.aloneFromMs, each.beginsMs),
      beside: rateBetween(samples, each.stalledMs, each.endedMs),
    }));
  const own = compared(turns(producers));
  const othersOwn = compared(turns(others));
  const growth =
    peakBetween(memory, first.beginsMs, endedMs + afterMs) - peakBetween(memory, 0, first.beginsMs);
  const full = fullRate(producers, first.aloneFromMs, first.beginsMs);
  const recovery = scene.stopsProducers ? recoveryMs(producers, endedMs, full) : 0;

  const misses = missesOf(scene, { growth, othersShare: othersOwn.share, recovery });
  const values = {
    producersAloneMibPerSecond: own.alone / MiB,
    producersBesideMibPerSecond: own.beside / MiB,
    othersAloneMibPerSecond: othersOwn.alone / MiB,
    othersBesideMibPerSecond: othersOwn.beside / MiB,
    othersShare: othersOwn.share,
    othersShareError: othersOwn.shareError,
    rssGrowthMib: growth / MiB,
    rssPeakMib: peakBetween(memory, 0, endedMs + afterMs) / MiB,
    allowedMib: scene.allowedBytes / MiB,
    fullMibPerSecond: full / MiB,
    recoveryMs: recovery,
    machineLoad: loadavg()[0]!,
  };
  const result = [
    `producers ${mib(own.alone)} -> ${mib(own.beside)}`,
    `${scene.others} ${mib(othersOwn.alone)} -> ${mib(othersOwn.beside)} MiB/s (${percent(othersOwn)} %)`,
    `rss ${growth < 0 ? '' : '+'}${mib(growth)} of ${mib(scene.allowedBytes)}+64 MiB`,
    ...(scene.stopsProducers ? [`back at ${mib(full)} after ${recovery.toFixed(0)} ms`] : []),
  ].join(', ');
  const check = [
    `${count(published.messageCount)} receipted = stored`,
    `${count(consumed.messageCount)} delivered once, in order`,
    ...(seen === undefined || seen === '' ? [] : [seen]),
    `load of the machine ${loadavg()[0]!.toFixed(1)}`,
    ...misses.map((miss) => `MISSED: ${miss}`),
  ].join('; ');

  const rates = [
    { label: 'producers, receipted', colour: '#1f6fb4', points: toRate(producers, MiB) },
    {
      label: read === undefined ? 'consumers' : 'a reader of stored messages',
      colour: '#2e8b57',
      points: toRate(others, MiB),
    },
  ];
  if (consumed.slow.some(({ total }) => total > 0)) {
    rates.push({ label: 'consumers that are slowed', colour: '#b4441f', points: toRate(consumed.slow, MiB) });
  }
  const plot = drawPlot({
    title: `${scene.name}: ${scene.about}`,
    beginMs: aloneFromMs - 2_000,
    endMs: endedMs + afterMs,
    troublesMs: troubles.map(({ beginsMs, endedMs: end }) => [beginsMs, end]),
    panels: [
      { title: 'MiB a second', lines: rates },
      {
        title: 'resident memory of the broker, MiB',
        lines: [
          {
            label: 'rss',
            colour: '#7a3e9d',
            points: memory.map(({ atMs, total }) => ({ atMs, total: total / MiB })),
          },
        ],
      },
    ],
  });
  return { row: { name: scene.name, result, values, check }, plot, misses };
}

async function fill(address: string, topic: string, bytes: number): Promise<void> {
  await createTopic(address, { name: topic, partitionCount: 1 });
  await runInWorker('publish', {
    address,
    shape: { topic, ...shape },
    connections: 1,
    streams: 4,
    requestsUnderWay: 16,
    warmupMs: 0,
    until: { kind: 'bytes', count: bytes },
  });
}

/** A job, and the moment its load is on. */
function started<T>(run: (onRunning: () => void) => Promise<T>): {
  running: Promise<void>;
  result: Promise<T>;
} {
  let onRunning: () => void = () => {};
  const running = new Promise<void>((resolve) => {
    onRunning = resolve;
  });
  const result = run(onRunning);
  return { running: Promise.race([running, result.then(() => {})]), result };
}

/** By the wall clock, which the samples of all processes share. */
function until(atMs: number): Promise<void> {
  return new Promise((resolve) => systemClock.after(atMs - systemClock.wallMs(), resolve));
}

function mib(bytes: number): string {
  return (bytes / MiB).toFixed(0);
}

function percent({ share, shareError }: Comparison): string {
  const error = shareError === 0 ? '' : ` ± ${(shareError * 100).toFixed(0)}`;
  return `${(share * 100).toFixed(0)}${error}`;
}

import { cpSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type SluiceClient } from '@sluice/client';
import { systemClock, type Timer } from '../../../src/base/clock.js';
import { KiB, MiB, secondMs } from '../../../src/base/units.js';
import { BrokerProcess, type Exit } from '../../support/broker-process.js';
import {
  type AcceptedLives,
  findLost,
  judgeAccepted,
  namesAcceptance,
  type Published,
  publishBehind,
} from './accepted.js';
import type { Acknowledged } from './acknowledged.js';
import { goOn } from './aftermath.js';
import { observe } from './audit.js';
import { applyDamage, type Damage, type Plan, planOf } from './damage.js';
import { drainAll } from './drain.js';
import { type JudgeOptions, judge, type Verdict } from './judge.js';
import type { Life } from './observation.js';
import { type BuiltStore, brokerArgs, buildStore, type Variant } from './stores.js';

/** A broker that has not done it by then hangs. */
const stepLimitMs = 60 * secondMs;

export interface RunResult {
  readonly plan: Plan;
  readonly damage: Damage;
  readonly verdict: Verdict;
  readonly lives: readonly Life[];
  /** A start with `--accept-data-loss` followed a refusal, and served. */
  readonly isLossAccepted: boolean;
  /** What the broker logged, life by life. */
  readonly log: readonly string[];
}

/** Builds each kind of store once, and runs brokers on damaged copies. */
export class DamageRuns {
  readonly #scratch = mkdtempSync(join(tmpdir(), 'sluice-damage-'));
  readonly #stores = new Map<Variant, Promise<BuiltStore>>();

  store(variant: Variant): Promise<BuiltStore> {
    let store = this.#stores.get(variant);
    if (store === undefined) {
      store = buildStore(variant, mkdirIn(this.#scratch, variant));
      this.#stores.set(variant, store);
    }
    return store;
  }

  /** One run. With `keepIn`, the damaged store of a failed run stays there. */
  async run(seed: number, keepIn?: string): Promise<RunResult> {
    const plan = planOf(seed);
    const store = await this.store(plan.variant);
    const directory = mkdirIn(this.#scratch, `run-${seed}`);
    try {
      const data = join(directory, 'data');
      cpSync(store.directory, data, { recursive: true });
      const damage = applyDamage(plan, data, store.olderCopies);
      if (keepIn !== undefined) cpSync(data, join(directory, 'damaged'), { recursive: true });
      const found = await liveAgain(data, store.acknowledged);
      const verdict = judgeLives(store.acknowledged, found, {
        maxLostBytes: maxLostBytesOf(damage),
        mustBeWhole: damage.method === 'torn',
      });
      if (keepIn !== undefined && verdict.outcome === 'failed') {
        rmSync(join(keepIn, `${seed}`), { recursive: true, force: true });
        renameSync(join(directory, 'damaged'), mkdirIn(keepIn, `${seed}`));
      }
      const isLossAccepted = found.accepted?.lives[0]?.kind === 'served';
      return { plan, damage, verdict, lives: found.lives, isLossAccepted, log: found.log };
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  }

  dispose(): void {
    rmSync(this.#scratch, { recursive: true, force: true });
  }
}

/** Judges all lives, the last one by its own list, and those with an accepted loss by what was said to be lost. */
export function judgeLives(acknowledged: Acknowledged, found: Lives, options: JudgeOptions = {}): Verdict {
  const verdict = judge(acknowledged, found.lives, options);
  if (found.accepted !== undefined) {
    const { violations } = judgeAccepted(acknowledged, found.accepted);
    if (violations.length === 0) return verdict;
    return { outcome: 'failed', violations: [...verdict.violations, ...violations] };
  }
  if (found.aftermath === undefined) return verdict;
  const { violations } = judge(found.aftermath.acknowledged, [found.aftermath.life]);
  if (violations.length === 0) return verdict;
  const behind = violations.map(({ kind, text }) => ({ kind, text: `after a drain and a kill: ${text}` }));
  return { outcome: 'failed', violations: [...verdict.violations, ...behind] };
}

/** Lives of brokers on one store, and the list that each is judged by. */
export interface Lives {
  readonly lives: readonly Life[];
  /** After a drain, more messages and a kill: judged by what was acknowledged by then. */
  readonly aftermath?: { readonly acknowledged: Acknowledged; readonly life: Life };
  /** After a refusal that names `--accept-data-loss`. */
  readonly accepted?: AcceptedLives;
  readonly log: readonly string[];
}

/**
 * Starts on one store: the second must say what the first said, and is drained. Where only the second finds damage,
 * a third must say so, too. What was drained and published goes through a kill.
 */
export async function liveAgain(dataDirectory: string, acknowledged: Acknowledged): Promise<Lives> {
  const lives: Life[] = [];
  const log: string[] = [];
  let later: Acknowledged | undefined;
  const liveOnce: LiveOnce = async (end, ask, furtherArgs = []) => {
    const broker = new BrokerProcess({ dataDirectory, args: [...brokerArgs, ...furtherArgs] });
    const life = await live(broker, end, ask);
    log.push(...broker.logLines);
    return life;
  };
  for (let start = 1; start <= 2 || hasFoundLater(lives); start++) {
    const life = await liveOnce(start === 1 ? 'stop' : 'kill', async (client) => {
      const observation = await observe(client, acknowledged);
      // What is lost already would never come.
      const isWhole = judge(acknowledged, [{ kind: 'served', observation }]).violations.length === 0;
      if (start === 1 || !isWhole) return { observation };
      const drained = await drainAll(client, acknowledged);
      later = await goOn(client, acknowledged, drained);
      return { observation, drained };
    });
    lives.push(life);
  }
  const refusal = lives.findLast(({ kind }) => kind === 'refused');
  if (refusal?.kind === 'refused' && namesAcceptance(refusal.text)) {
    return { lives, log, accepted: await liveWithLoss(acknowledged, refusal.text, liveOnce) };
  }
  if (later === undefined || lives.at(-1)?.kind !== 'served') return { lives, log };
  const list = later;
  const life = await liveOnce('stop', async (client) => ({ observation: await observe(client, list) }));
  return { lives, log, aftermath: { acknowledged: list, life } };
}

type LiveOnce = (
  end: 'stop' | 'kill',
  ask: (client: SluiceClient) => Promise<Served>,
  furtherArgs?: readonly string[],
) => Promise<Life>;

/** Starts as the refusal says, then without the setting; publishes, and looks for that after a kill. */
async function liveWithLoss(
  acknowledged: Acknowledged,
  refusal: string,
  liveOnce: LiveOnce,
): Promise<AcceptedLives> {
  const first = await liveOnce(
    'stop',
    async (client) => ({ observation: await observe(client, acknowledged) }),
    ['--accept-data-loss'],
  );
  if (first.kind !== 'served') return { refusal, lives: [first] };
  let published: Published[] = [];
  const second = await liveOnce('kill', async (client) => {
    const observation = await observe(client, acknowledged);
    published = await publishBehind(client, observation);
    return { observation };
  });
  if (second.kind !== 'served') return { refusal, lives: [first, second] };
  let lost: string[] = [];
  const third = await liveOnce('stop', async (client) => {
    lost = await findLost(client, published);
    return { observation: await observe(client, acknowledged) };
  });
  return { refusal, lives: [first, second, third], published, lost };
}

function hasFoundLater(lives: readonly Life[]): boolean {
  return lives.length === 2 && lives[0]!.kind === 'served' && lives[1]!.kind === 'refused';
}

type Served = Omit<Extract<Life, { kind: 'served' }>, 'kind'>;

/** One life: start, questions, an end. */
async function live(
  broker: BrokerProcess,
  end: 'stop' | 'kill',
  ask: (client: SluiceClient) => Promise<Served>,
): Promise<Life> {
  const limit = new StepLimit();
  let client: SluiceClient | undefined;
  try {
    const serving = broker.spawn().catch(() => 'ended' as const);
    const address = await limit.of('the start', serving);
    if (address === 'ended') return ended(await broker.exited, broker);
    client = connect(address);
    const asked = ask(client);
    // A broker that ends leaves no call without an answer, but perhaps a stream that waits.
    const served = await limit.of('the questions', Promise.race([asked, broker.exited]));
    if ('observation' in served && hasAnnouncedEnd(served)) {
      return ended(await limit.of('the end after a failed write', broker.exited), broker);
    }
    if (end === 'kill' && 'observation' in served && broker.isRunning) {
      await broker.kill();
      return { kind: 'served', ...served };
    }
    const exit = await limit.of('the end', broker.stop());
    return exit.code === 0 && 'observation' in served ? { kind: 'served', ...served } : ended(exit, broker);
  } catch (error) {
    if (!broker.isRunning) return ended(await broker.exited, broker);
    return { kind: error instanceof Hang ? 'hung' : 'died', text: `${(error as Error).message}` };
  } finally {
    limit.cancel();
    client?.close();
    await broker.kill();
  }
}

/** A compaction has met damage: the broker finds out what is lost, and ends by itself. */
function hasAnnouncedEnd(served: Served): boolean {
  return JSON.stringify(served).includes('takes no writes');
}

const typedReason = /\b(DATA_LOSS|SYNCED_DATA_MISSING|DATA_DIRECTORY_(?!IN_USE)[A-Z]+)\b/;
/** A file, a path, or an object of the store. */
const nameOfSomething = /\/|\.sst|\.log\b|MANIFEST|topic|subscription|producer|partition|round \d/;

/** Why a broker ended: a reason that says what is damaged, or its death. */
export function ended({ code, signal }: Exit, { logLines }: Pick<BrokerProcess, 'logLines'>): Life {
  const last = logLines.slice(-3).join(' | ').slice(-400);
  const described = logLines.findLast((line) => typedReason.test(line) && nameOfSomething.test(line));
  if (code === null || code === 0 || described === undefined) {
    return { kind: 'died', text: `the broker ended with code ${code}, signal ${signal}: ${last}` };
  }
  return { kind: 'refused', reason: typedReason.exec(described)![1]!, text: described };
}

/** Damage in one place of a table's data takes the messages of the blocks that it touches and no others. */
function maxLostBytesOf({ at, fileBytes, damagedBytes, file }: Damage): number {
  const isInData = file.endsWith('.sst') && at !== undefined && at + damagedBytes < 0.8 * fileBytes;
  if (!isInData || fileBytes < 200 * KiB) return Number.POSITIVE_INFINITY;
  // A block ends with the record that passes its size: a record of small messages, or one large message.
  const blockBytes = 16 * KiB + 256 * KiB;
  const largestMessageBytes = 1 * MiB;
  return damagedBytes + 2 * blockBytes + largestMessageBytes;
}

class Hang extends Error {}

class StepLimit {
  #timer: Timer | undefined;

  async of<T>(step: string, work: Promise<T>): Promise<T> {
    const hang = new Promise<never>((_, reject) => {
      this.#timer = systemClock.after(stepLimitMs, () => {
        reject(new Hang(`${step} took more than ${stepLimitMs / secondMs} s`));
      });
    });
    try {
      return await Promise.race([work, hang]);
    } finally {
      this.cancel();
    }
  }

  cancel(): void {
    this.#timer?.cancel();
  }
}

function mkdirIn(parent: string, name: string): string {
  const directory = join(parent, name);
  mkdirSync(directory, { recursive: true });
  return directory;
}

import assert from 'node:assert/strict';
import { systemClock } from '../../src/base/clock.js';
import { MiB, secondMs } from '../../src/base/units.js';
import { BrokerProcess } from './broker-process.js';
import { Canary } from './canary.js';

export const inFlightMiB = 160;
/** Garbage: V8 lets its old space grow to 256 MiB before it first collects it (`--initial-old-space-size`). */
const marginMiB = 256;
/** Of the calls of a client beside an attack, so many take no longer than the limit. */
const leastGoodPart = 0.95;
const limitMs = 1 * secondMs;
/**
 * Where other programs keep the cores busy, all calls are slower, without any attack. So the limit is a second or this
 * many times what the calls of the same client took before the attack, whichever is more. On a machine that has nothing
 * else to do those take some milliseconds, and the limit is a second.
 */
const slowerByAttack = 20;

/** A broker with little memory, and an ordinary client beside what attacks it. */
export class AttackedBroker {
  readonly process: BrokerProcess;
  readonly #canary: Canary;

  private constructor(process: BrokerProcess, canary: Canary) {
    this.process = process;
    this.#canary = canary;
  }

  static async start(args: readonly string[] = []): Promise<AttackedBroker> {
    const process = await BrokerProcess.start({
      args: ['--max-in-flight-bytes', `${inFlightMiB}MiB`, ...args],
    });
    return new AttackedBroker(process, await Canary.start(process.address));
  }

  async dispose(): Promise<void> {
    await this.#canary.stop();
    await this.process.dispose();
  }

  /** Plays an attack and holds the canary and the memory of the broker to their bounds. */
  async play(attack: () => Promise<void>, mostGrownMiB = inFlightMiB + marginMiB): Promise<void> {
    const canary = this.#canary;
    // The first calls find caches empty and code that is not compiled yet.
    await canary.more(20);
    const warmCount = canary.count;
    await canary.more(40);
    const beforeMs = canary.durationMs(warmCount, leastGoodPart);
    const boundMs = Math.max(limitMs, slowerByAttack * beforeMs);
    assert.ok(Number.isFinite(boundMs), 'calls are answered before the attack');
    const restBytes = this.process.rssBytes();
    let peakBytes = 0;
    let isWatching = true;
    const look = () => {
      peakBytes = Math.max(peakBytes, this.process.rssBytes());
      if (isWatching) systemClock.after(50, look);
    };
    look();
    const fromCount = canary.count;
    await attack();
    await canary.more(40);
    const during = canary.goodPart(fromCount, boundMs);
    await new Promise<void>((resolve) => systemClock.after(5 * secondMs, resolve));
    const afterCount = canary.count;
    await canary.more(40);
    isWatching = false;
    const after = canary.goodPart(afterCount, boundMs);
    const grownMiB = Math.round((peakBytes - restBytes) / MiB);
    const figures = `calls within ${Math.round(boundMs)} ms: ${during} during, ${after} after; memory: +${grownMiB} MiB`;
    assert.ok(during >= leastGoodPart && after >= leastGoodPart, figures);
    assert.ok(grownMiB <= mostGrownMiB, figures);
  }
}

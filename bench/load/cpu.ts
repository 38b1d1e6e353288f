import { systemClock } from '../../src/base/clock.js';

/** Measures the processor time of this process: 1 is one core, all the time. */
export class CpuMeter {
  readonly #startUsage = process.cpuUsage();
  readonly #startMs = systemClock.monotonicMs();

  get elapsedMs(): number {
    return systemClock.monotonicMs() - this.#startMs;
  }

  get share(): number {
    const { user, system } = process.cpuUsage(this.#startUsage);
    return (user + system) / 1000 / this.elapsedMs;
  }
}

import { systemClock, type Timer } from '../src/base/clock.js';
import { MiB } from '../src/base/units.js';
import type { BrokerProcess } from '../test/support/broker-process.js';

const sampleEveryMs = 100;

export interface Usage {
  /** Processor time of the broker: 1 is one core, all the time. */
  readonly cpuShare: number;
  readonly cpuSeconds: number;
  /** Resident memory of the broker. */
  readonly startRssMiB: number;
  readonly peakRssMiB: number;
  readonly endRssMiB: number;
}

/** Watches what a broker uses, from outside. */
export class Sampler {
  readonly #broker: BrokerProcess;
  readonly #startMs = systemClock.monotonicMs();
  readonly #startCpuSeconds: number;
  readonly #startRssBytes: number;
  #peakRssBytes = 0;
  #timer: Timer | undefined;

  constructor(broker: BrokerProcess) {
    this.#broker = broker;
    this.#startCpuSeconds = broker.cpuSeconds();
    this.#startRssBytes = broker.rssBytes();
    this.#sample();
  }

  /** What was used since the start. Ends the watch. */
  stop(): Usage {
    this.#timer?.cancel();
    const elapsedSeconds = (systemClock.monotonicMs() - this.#startMs) / 1000;
    const endRssBytes = this.#broker.rssBytes();
    const cpuSeconds = this.#broker.cpuSeconds() - this.#startCpuSeconds;
    return {
      cpuShare: cpuSeconds / elapsedSeconds,
      cpuSeconds,
      startRssMiB: this.#startRssBytes / MiB,
      peakRssMiB: Math.max(this.#peakRssBytes, endRssBytes) / MiB,
      endRssMiB: endRssBytes / MiB,
    };
  }

  #sample(): void {
    this.#peakRssBytes = Math.max(this.#peakRssBytes, this.#broker.rssBytes());
    this.#timer = systemClock.after(sampleEveryMs, () => this.#sample());
  }
}

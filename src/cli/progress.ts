import type { Clock, Timer } from '../base/clock.js';
import { limits } from '../base/limits.js';
import type { Output } from './output.js';

/** Clears the line of a terminal before other text is written; empty if stderr is not a terminal. */
export function clearedLine({ stderr }: { readonly stderr: Output }): string {
  return stderr.isTerminal ? '\r\u001b[K' : '';
}

/** A line on stderr that reports progress at intervals. On a terminal it overwrites itself. */
export class Progress {
  readonly #clock: Clock;
  readonly #stderr: Output;
  readonly #describe: (elapsedMs: number) => string;
  readonly #startedAtMs: number;
  #timer: Timer | undefined;
  #hasWritten = false;

  constructor(clock: Clock, stderr: Output, describe: (elapsedMs: number) => string) {
    this.#clock = clock;
    this.#stderr = stderr;
    this.#describe = describe;
    this.#startedAtMs = clock.monotonicMs();
    this.#schedule();
  }

  /** Stops, and clears the line of the terminal. */
  async end(): Promise<void> {
    this.#timer?.cancel();
    if (this.#hasWritten) await this.#stderr.write(clearedLine({ stderr: this.#stderr }));
  }

  #schedule(): void {
    this.#timer = this.#clock.after(limits.cliProgressEveryMs, () => {
      const text = this.#describe(this.#clock.monotonicMs() - this.#startedAtMs);
      this.#hasWritten = true;
      // The work continues even if the progress can't be written.
      const end = this.#stderr.isTerminal ? '' : '\n';
      this.#stderr.write(`${clearedLine({ stderr: this.#stderr })}${text}${end}`).catch(() => {});
      this.#schedule();
    });
  }
}

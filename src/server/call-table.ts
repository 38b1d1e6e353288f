import { SluiceError } from '../base/errors.js';
import { secondMs } from '../base/units.js';
import type { CallTable, OpenedCall, Route } from './direct-call.js';

/** The calls of one server: bounds how many streams there are, and ends them all when the server drains. */
export class OpenCalls implements CallTable {
  readonly #routes: ReadonlyMap<string, Route>;
  readonly #maxStreams: number;
  readonly #open = new Set<OpenedCall>();
  /** Those of them that have no status yet. */
  readonly #unanswered = new Set<OpenedCall>();
  #onAllAnswered: () => void = () => {};
  #streamCount = 0;
  #draining: SluiceError | undefined;

  constructor(routes: ReadonlyMap<string, Route>, maxStreams: number) {
    this.#routes = routes;
    this.#maxStreams = maxStreams;
  }

  get streamCount(): number {
    return this.#streamCount;
  }

  route(path: string): Route | undefined {
    return this.#routes.get(path);
  }

  opened(call: OpenedCall): void {
    if (call.kind !== 'foreign' && this.#draining !== undefined) throw this.#draining;
    if (call.kind === 'stream') {
      if (this.#streamCount >= this.#maxStreams) {
        const text = `${this.#maxStreams} streams are open, and no more are allowed: close some, or raise the limit`;
        throw new SluiceError('TOO_MANY_STREAMS', text, { retryAfterMs: secondMs });
      }
      this.#streamCount++;
    }
    this.#open.add(call);
    this.#unanswered.add(call);
  }

  answered(call: OpenedCall): void {
    this.#unanswered.delete(call);
    if (this.#unanswered.size === 0) this.#onAllAnswered();
  }

  closed(call: OpenedCall): void {
    this.answered(call);
    if (!this.#open.delete(call)) return;
    if (call.kind === 'stream') this.#streamCount--;
  }

  /** Asks every call to end, and refuses new ones except of other services: health can still be asked. */
  drain(error: SluiceError): void {
    this.#draining = error;
    for (const call of [...this.#open]) call.stop(error);
  }

  /** Resolves when every call has its status. */
  async allAnswered(): Promise<void> {
    if (this.#unanswered.size === 0) return;
    await new Promise<void>((resolve) => {
      this.#onAllAnswered = resolve;
    });
  }
}

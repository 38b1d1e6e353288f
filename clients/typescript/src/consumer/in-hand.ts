import type { HeldMessage } from './held-message.js';
import { isIn, type Range } from './response.js';

/** Messages that were handed out and have not come back. */
export class InHand {
  readonly #messages = new Set<HeldMessage>();
  #emptyWaiters: (() => void)[] = [];

  get count(): number {
    return this.#messages.size;
  }

  add(message: HeldMessage): void {
    this.#messages.add(message);
  }

  delete(message: HeldMessage): void {
    if (!this.#messages.delete(message) || this.#messages.size > 0) return;
    for (const wake of this.#emptyWaiters.splice(0)) wake();
  }

  /** The broker has taken these back: says which are here. */
  revoke(ranges: readonly Range[]): HeldMessage[] {
    return this.#lose(({ partition, offsetNumber }) => isIn(ranges, partition, offsetNumber));
  }

  /** None of them is this consumer's any more. */
  loseAll(): HeldMessage[] {
    return this.#lose(() => true);
  }

  async whenEmpty(): Promise<void> {
    while (this.#messages.size > 0) await new Promise<void>((resolve) => this.#emptyWaiters.push(resolve));
  }

  [Symbol.iterator](): Iterator<HeldMessage> {
    return this.#messages.values();
  }

  #lose(isLost: (message: HeldMessage) => boolean): HeldMessage[] {
    const lost = [...this.#messages].filter(isLost);
    for (const message of lost) message.lose();
    return lost;
  }
}

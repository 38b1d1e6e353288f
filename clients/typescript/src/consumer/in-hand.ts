import type { HeldMessage } from './held-message.js';
import { isIn, type Range } from './response.js';

/** Messages that a handler or a caller has. */
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

  /** The messages of the ranges that the broker has taken back. */
  revoke(ranges: readonly Range[]): HeldMessage[] {
    return this.#lose(({ partition, offsetNumber }) => isIn(ranges, partition, offsetNumber));
  }

  /** The session has ended: all messages are lost for this consumer. */
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

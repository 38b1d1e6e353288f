import type { SluiceError } from '../errors.js';
import type { Delivery } from './delivery.js';
import type { HeldMessage } from './held-message.js';
import type { InHand } from './in-hand.js';
import type { Lanes } from './lanes.js';
import type { Outlet } from './outlet.js';

interface Taker {
  readonly resolve: (result: IteratorResult<Delivery, undefined>) => void;
  readonly reject: (error: SluiceError) => void;
}

/** Gives messages to a caller that iterates and settles them itself. */
export class Feed implements Outlet, AsyncIterator<Delivery, undefined> {
  readonly #lanes: Lanes;
  readonly #inHand: InHand;
  readonly #close: () => Promise<void>;
  readonly #starving: () => void;
  #takers: Taker[] = [];
  #ended: { readonly error: SluiceError | undefined } | undefined;
  #isAbandoned = false;

  /** `starving` is called when a caller waits for a message. */
  constructor(lanes: Lanes, inHand: InHand, close: () => Promise<void>, starving: () => void) {
    this.#lanes = lanes;
    this.#inHand = inHand;
    this.#close = close;
    this.#starving = starving;
  }

  next(): Promise<IteratorResult<Delivery, undefined>> {
    return new Promise((resolve, reject) => {
      this.#takers.push({ resolve, reject });
      this.wake();
      if (this.isGathering) this.#starving();
    });
  }

  get isGathering(): boolean {
    return this.isWaiting && this.#inHand.count > 0;
  }

  get isWaiting(): boolean {
    return this.#takers.length > 0;
  }

  /** The caller has left the loop. */
  async return(): Promise<IteratorResult<Delivery, undefined>> {
    this.#isAbandoned = true;
    for (const message of this.#inHand.loseAll()) this.#inHand.delete(message);
    await this.#close();
    return { done: true, value: undefined };
  }

  wake(): void {
    while (this.#takers.length > 0) {
      if (this.#ended !== undefined) {
        const { error } = this.#ended;
        for (const { resolve, reject } of this.#takers.splice(0)) {
          if (error === undefined) resolve({ done: true, value: undefined });
          else reject(error);
        }
        return;
      }
      const message = this.#lanes.take(false);
      if (message === undefined) return;
      this.#inHand.add(message);
      this.#takers.shift()!.resolve({ done: false, value: message });
    }
  }

  over(message: HeldMessage): void {
    this.#inHand.delete(message);
  }

  end(error?: SluiceError): void {
    this.#ended ??= { error };
    this.wake();
  }

  async whenIdle(): Promise<void> {
    if (!this.#isAbandoned) await this.#inHand.whenEmpty();
  }
}

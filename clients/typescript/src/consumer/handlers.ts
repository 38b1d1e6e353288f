import type { Handler } from './delivery.js';
import type { HeldMessage } from './held-message.js';
import type { InHand } from './in-hand.js';
import type { Lanes } from './lanes.js';
import type { Outlet } from './outlet.js';

/** Runs a handler, up to `concurrency` at once, and one at a time for each lane. */
export class Handlers implements Outlet {
  readonly #lanes: Lanes;
  readonly #inHand: InHand;
  readonly #handler: Handler;
  readonly #concurrency: number;
  #isHandingOut = false;
  #hasEnded = false;

  constructor(lanes: Lanes, inHand: InHand, handler: Handler, concurrency: number) {
    this.#lanes = lanes;
    this.#inHand = inHand;
    this.#handler = handler;
    this.#concurrency = concurrency;
  }

  wake(): void {
    // A handler that returns synchronously calls this method again.
    if (this.#isHandingOut) return;
    this.#isHandingOut = true;
    while (!this.#hasEnded && this.#inHand.count < this.#concurrency) {
      const message = this.#lanes.take(true);
      if (message === undefined) break;
      this.#handle(message);
    }
    this.#isHandingOut = false;
  }

  /** The handlers never hold more messages than may be handled at once. */
  readonly isGathering = false;

  get isWaiting(): boolean {
    return this.#inHand.count < this.#concurrency;
  }

  /** The message is in hand until its handler returns. */
  over(): void {}

  end(): void {
    this.#hasEnded = true;
  }

  whenIdle(): Promise<void> {
    return this.#inHand.whenEmpty();
  }

  #handle(message: HeldMessage): void {
    // No promise is made for a handler that returns none, because such handlers are much faster.
    let result: unknown;
    try {
      result = this.#handler(message);
    } catch (error) {
      this.#failed(message, error);
      return;
    }
    if (!isThenable(result)) {
      this.#succeeded(message);
      return;
    }
    this.#inHand.add(message);
    result.then(
      () => this.#succeeded(message),
      (error) => this.#failed(message, error),
    );
  }

  #succeeded(message: HeldMessage): void {
    message.acknowledge();
    this.#returned(message);
  }

  #failed(message: HeldMessage, error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error);
    void message.nack({ reason });
    this.#returned(message);
  }

  #returned(message: HeldMessage): void {
    this.#inHand.delete(message);
    this.#lanes.done(message.lane);
    this.wake();
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}

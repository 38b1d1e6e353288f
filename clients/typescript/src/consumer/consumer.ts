import { Backoff, pause } from '../backoff.js';
import type { BrokerAccess } from '../broker-access.js';
import { SluiceError, StatusCode } from '../errors.js';
import { Credit } from './credit.js';
import type { Delivery, Handler } from './delivery.js';
import { Feed } from './feed.js';
import { Handlers } from './handlers.js';
import type { HeldMessage } from './held-message.js';
import { InHand } from './in-hand.js';
import { Lanes } from './lanes.js';
import { type CompleteConsumerOptions, type ConsumerOptions, complete } from './options.js';
import type { Outlet } from './outlet.js';
import { subscribeRequest } from './request.js';
import { isFinal, Session, type SessionEvents } from './session.js';

/** How a handler is run. */
export interface RunOptions {
  /** Closes the consumer when it is aborted. */
  readonly signal?: AbortSignal;
}

const creditEveryMs = 250;
/** How long the broker may take to open a session that is to be left again. */
const openTimeoutMs = 10_000;

/**
 * Receives from one subscription: `run` a handler, or iterate. Messages come at least once and in the order that the
 * subscription keeps; a stream that breaks is opened again, until `close`.
 */
export class Consumer implements AsyncIterable<Delivery> {
  readonly #client: BrokerAccess;
  readonly #options: CompleteConsumerOptions;
  readonly #credit: Credit;
  readonly #lanes = new Lanes();
  readonly #inHand = new InHand();
  readonly #closing = new AbortController();
  #outlet: Outlet | undefined;
  #session: Session | undefined;
  /** The broker has taken messages back since it was told the credit. */
  #hasLostMessages = false;
  /** Settles when there will be no other session; rejects with what can't be mended. */
  #receiving: Promise<void> = Promise.resolve();
  #closed: Promise<void> | undefined;

  /** Connects to nothing yet. Throws where a number or a time is none. */
  constructor(client: BrokerAccess, options: ConsumerOptions) {
    this.#client = client;
    this.#options = complete(options);
    // Throws where they are no settings: later, that would look like a stream that breaks again and again.
    subscribeRequest(this.#options, 1);
    const { maxOutstandingMessages, concurrency } = this.#options;
    this.#credit = new Credit(maxOutstandingMessages, concurrency, performance.now());
  }

  /** Of the session that is open; undefined while there is none. ListConsumers shows it. */
  get sessionId(): string | undefined {
    return this.#session?.id;
  }

  /** How many messages the broker may let be outstanding now. */
  get grantedMessages(): number {
    return this.#credit.granted;
  }

  /**
   * Processes messages until `close`; resolves when it is done. Rejects with an error that no other try mends: the
   * subscription is gone, say. Handlers that still run then have been told, and have ended or had `drainTimeoutMs`.
   */
  async run(handler: Handler, { signal }: RunOptions = {}): Promise<void> {
    this.#begin(new Handlers(this.#lanes, this.#inHand, handler, this.#options.concurrency));
    const close = () => void this.close();
    if (signal?.aborted === true) close();
    signal?.addEventListener('abort', close);
    try {
      await this.#receiving;
    } finally {
      signal?.removeEventListener('abort', close);
    }
    await this.#closed;
  }

  /**
   * Messages one by one, in order, to be settled by the caller. Behind a nack, nothing of its partition (or key) comes
   * before the broker has answered it. Leaving the loop closes the consumer: what is not settled then is free, and has
   * not failed.
   */
  [Symbol.asyncIterator](): AsyncIterator<Delivery, undefined> {
    const feed = new Feed(
      this.#lanes,
      this.#inHand,
      () => this.close(),
      () => this.#feedGathering(),
    );
    this.#begin(feed);
    return feed;
  }

  /**
   * Takes no more messages, waits for the handlers that run (or for the settling of what was iterated), makes their
   * settlements durable, and leaves: what was not begun is free for others, and has not failed. Harmless twice. A handler
   * may call it, but not wait for it.
   */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  #begin(outlet: Outlet): void {
    if (this.#outlet !== undefined || this.#closed !== undefined) {
      const text = this.#closed === undefined ? 'the consumer runs already' : 'the consumer is closed';
      const reason = this.#closed === undefined ? 'RUNNING' : 'CLOSED';
      throw new SluiceError(text, { code: StatusCode.FAILED_PRECONDITION, reason });
    }
    this.#outlet = outlet;
    this.#receiving = this.#receive(outlet);
    // Who iterates hears of it there.
    this.#receiving.catch(() => {});
  }

  /** One session after the other. */
  async #receive(outlet: Outlet): Promise<void> {
    const backoff = new Backoff(this.#options);
    const creditTimer = setInterval(() => this.#adaptCredit(), creditEveryMs);
    try {
      while (!this.#closing.signal.aborted) {
        const { error, hasDelivered } = await this.#receiveOnce(outlet);
        if (this.#closing.signal.aborted) return;
        if (error !== undefined && isFinal(error)) {
          outlet.end(error);
          await this.#drain(outlet);
          throw error;
        }
        if (hasDelivered) backoff.reset();
        const waitMs = backoff.nextMs(error?.retryAfterMs);
        if (error !== undefined) this.#client.connectionStates.failed(error, waitMs);
        await pause(waitMs, this.#closing.signal);
      }
    } finally {
      clearInterval(creditTimer);
    }
  }

  async #receiveOnce(outlet: Outlet): Promise<{ error: SluiceError | undefined; hasDelivered: boolean }> {
    let session: Session | undefined;
    let error: SluiceError | undefined;
    try {
      session = new Session(this.#client, this.#options, this.#events(outlet));
      this.#session = session;
      await session.receive();
    } catch (thrown) {
      error = SluiceError.from(thrown);
    }
    this.#session = undefined;
    this.#hasLostMessages = false;
    this.#lanes.reset();
    for (const message of this.#inHand.loseAll()) outlet.over(message);
    session?.drop();
    return { error, hasDelivered: session?.hasDelivered ?? false };
  }

  #events(outlet: Outlet): SessionEvents {
    return {
      delivered: (messages, ordering) => {
        this.#lanes.add(messages, ordering);
        outlet.wake();
      },
      revoked: (ranges) => {
        this.#hasLostMessages = true;
        this.#lanes.revoke(ranges);
        for (const message of this.#inHand.revoke(ranges)) outlet.over(message);
      },
      settled: (message) => {
        if (this.#credit.settled()) this.#grant(this.#credit.turnedOver(performance.now()));
        outlet.over(message);
      },
      nacking: ({ lane }) => this.#lanes.hold(lane),
      nacked: ({ lane }) => {
        this.#lanes.release(lane);
        outlet.wake();
      },
      held: () => this.#held(),
      creditGranted: () => this.#credit.granted,
    };
  }

  *#held(): Generator<HeldMessage> {
    yield* this.#lanes;
    yield* this.#inHand;
  }

  #adaptCredit(): void {
    const heldCount = this.#lanes.count + this.#inHand.count;
    const hasChanged = this.#credit.adapt(heldCount, performance.now());
    // A session whose leases have lapsed gets nothing more before the broker hears of it.
    const isUnheard = this.#hasLostMessages && this.#outlet?.isWaiting === true;
    this.#grant(hasChanged || isUnheard);
    this.#feedGathering();
  }

  /** Who iterates and gathers more than is granted, before any of it is settled, would wait for ever. */
  #feedGathering(): void {
    if (this.#outlet?.isGathering !== true) return;
    const heldCount = this.#lanes.count + this.#inHand.count;
    if (heldCount >= this.#credit.granted) this.#grant(this.#credit.raise(2 * heldCount));
  }

  #grant(isToBeTold: boolean): void {
    if (!isToBeTold || this.#closing.signal.aborted) return;
    this.#hasLostMessages = false;
    this.#session?.setCredit(this.#credit.granted);
  }

  async #close(): Promise<void> {
    this.#closing.abort();
    const outlet = this.#outlet;
    if (outlet === undefined) return;
    // What is queued stays leased until it leaves, so that nothing of it fails meanwhile.
    outlet.end();
    this.#session?.setCredit(0);
    await this.#drain(outlet);
    const session = this.#session;
    if (session !== undefined) {
      const { drainTimeoutMs } = this.#options;
      const timeoutMs = session.id === undefined ? Math.min(drainTimeoutMs, openTimeoutMs) : drainTimeoutMs;
      const givesUp = setTimeout(() => session.cancel(), timeoutMs);
      await session.leave();
      clearTimeout(givesUp);
    }
    // The caller of `run` gets the failure.
    await this.#receiving.catch(() => {});
  }

  /** Waits for what is in hand, and tells it when that takes too long. */
  async #drain(outlet: Outlet): Promise<void> {
    const waited = new AbortController();
    await Promise.race([outlet.whenIdle(), pause(this.#options.drainTimeoutMs, waited.signal)]);
    waited.abort();
    for (const message of this.#inHand.loseAll()) outlet.over(message);
  }
}

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

/** Options of `run`. */
export interface RunOptions {
  /** Closes the consumer when the signal is aborted. */
  readonly signal?: AbortSignal;
}

const creditEveryMs = 250;
/** How long `close` waits for the broker to open a session. */
const openTimeoutMs = 10_000;

/**
 * Receives the messages of one subscription: `run` a handler, or iterate. Messages come at least once, in the order of
 * the subscription. When a stream breaks, the consumer opens it again, until `close`.
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
  /** The broker has taken messages back since the client last sent its credit. */
  #hasLostMessages = false;
  /** Settles when the consumer opens no other session. Rejects with an error that no retry resolves. */
  #receiving: Promise<void> = Promise.resolve();
  #closed: Promise<void> | undefined;

  /** Does not connect yet. Throws if a setting is invalid. */
  constructor(client: BrokerAccess, options: ConsumerOptions) {
    this.#client = client;
    this.#options = complete(options);
    // Throws if a setting is invalid. A later error would look like a broken stream.
    subscribeRequest(this.#options, 1);
    const { maxOutstandingMessages, concurrency } = this.#options;
    this.#credit = new Credit(maxOutstandingMessages, concurrency, performance.now());
  }

  /** The id of the open session, which ListConsumers shows; undefined while there is none. */
  get sessionId(): string | undefined {
    return this.#session?.id;
  }

  /** The present message credit. */
  get grantedMessages(): number {
    return this.#credit.granted;
  }

  /**
   * Processes messages until `close`, and resolves when the consumer is closed. Rejects with an error that no retry
   * resolves, for example if the subscription was deleted. It first aborts the signals of running handlers, and waits
   * for the handlers for up to `drainTimeoutMs`.
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
   * Messages one by one, in order. The caller settles them. After a nack, no message of the same partition (or key)
   * comes before the broker has answered. Leaving the loop closes the consumer: messages that are not settled are free
   * for other consumers, and no attempt is counted.
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
   * Accepts no more messages, waits for running handlers (or until the caller has settled its messages), makes their
   * settlements durable, and leaves. Messages that no handler has begun are free for other consumers, and no attempt is
   * counted. Idempotent. A handler may call it, but must not wait for it.
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
    // A caller that iterates gets the error from its loop.
    this.#receiving.catch(() => {});
  }

  /** Opens one session after another. */
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
    // A session whose leases have lapsed receives nothing before it sends its credit again.
    const isUnheard = this.#hasLostMessages && this.#outlet?.isWaiting === true;
    this.#grant(hasChanged || isUnheard);
    this.#feedGathering();
  }

  /** Raises the credit for a caller that settles nothing before it has more messages than the credit. */
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
    // Extends the leases of queued messages until the session leaves, so that no attempt fails.
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

  /** Waits for the messages in hand, and aborts their signals after `drainTimeoutMs`. */
  async #drain(outlet: Outlet): Promise<void> {
    const waited = new AbortController();
    await Promise.race([outlet.whenIdle(), pause(this.#options.drainTimeoutMs, waited.signal)]);
    waited.abort();
    for (const message of this.#inHand.loseAll()) outlet.over(message);
  }
}

import type { BrokerAccess } from '../broker-access.js';
import type { ByteStream } from '../calls.js';
import { durationMs, type SluiceError, StatusCode } from '../errors.js';
import { Ordering } from '../gen/sluice/v1/admin_pb.js';
import { Broker, type SessionOpened } from '../gen/sluice/v1/broker_pb.js';
import { HeldMessage, type Lender } from './held-message.js';
import { heldRanges, LeaseTimer } from './leases.js';
import type { CompleteConsumerOptions } from './options.js';
import { creditRequest, subscribeRequest } from './request.js';
import { type Range, type Response, type Run, readResponse } from './response.js';
import { type Outcome, toSettlement } from './settlement.js';
import { Settlements } from './settlements.js';

/** Events of a session, in the order of the broker's responses. */
export interface SessionEvents {
  delivered(messages: readonly HeldMessage[], ordering: Ordering): void;
  /** The broker has taken messages back. */
  revoked(ranges: readonly Range[]): void;
  /** One message is settled: its credit is free. */
  settled(message: HeldMessage): void;
  /** A nack has no answer yet: the messages that the broker takes back for it are not known. */
  nacking(message: HeldMessage): void;
  /** The nack is answered. */
  nacked(message: HeldMessage): void;
  /** All messages of this session that are queued or in hand. */
  held(): Iterable<HeldMessage>;
  creditGranted(): number;
}

const openTimeoutMs = 10_000;

/** One `Consume` stream, from its first request to its end. */
export class Session implements Lender {
  readonly topic: string;
  readonly #client: BrokerAccess;
  readonly #options: CompleteConsumerOptions;
  readonly #events: SessionEvents;
  readonly #stream: ByteStream;
  readonly #settlements: Settlements;
  readonly #leases = new LeaseTimer();
  readonly #cancelling = new AbortController();
  #ordering = Ordering.PARTITION;
  #id: string | undefined;
  #lastDeliveryId = 0;
  #hasDelivered = false;
  #isOver = false;
  #ended: () => void = () => {};
  /** Resolves when the stream has ended, for any reason. */
  readonly ended = new Promise<void>((resolve) => {
    this.#ended = resolve;
  });

  constructor(client: BrokerAccess, options: CompleteConsumerOptions, events: SessionEvents) {
    this.topic = options.topic;
    this.#client = client;
    this.#options = options;
    this.#events = events;
    this.#stream = client.openBytes(Broker.method.consume);
    this.#settlements = new Settlements({
      ackIntervalMs: options.ackIntervalMs,
      promptCount: () => events.creditGranted() / 4,
      lastDeliveryId: () => this.#lastDeliveryId,
      write: (request) => this.#stream.write(request),
    });
  }

  /** Undefined until the broker has opened it. */
  get id(): string | undefined {
    return this.#id;
  }

  /** Whether the session has received messages or answers. */
  get hasDelivered(): boolean {
    return this.#hasDelivered;
  }

  /** Subscribes, and processes responses until the broker ends the stream. Throws when the stream breaks. */
  async receive(): Promise<void> {
    try {
      this.#write(subscribeRequest(this.#options, this.#events.creditGranted()));
      for await (const bytes of this.#stream) {
        const response = readResponse(bytes);
        if (response.opened !== undefined) await this.#opened(response.opened);
        this.#take(response);
      }
    } finally {
      this.#isOver = true;
      this.#leases.stop();
      this.#stream.cancel();
      this.#ended();
    }
  }

  /** The stream has ended: every caller that waits for an answer learns that there is none. */
  drop(): void {
    this.#settlements.drop();
  }

  setCredit(messages: number): void {
    this.#write(creditRequest(messages));
  }

  /**
   * Sends the settlements, waits until they are durable, closes its half of the stream, and waits for the end of the
   * stream. Also does so before the session is open, because the broker takes a stream that is reset for a failed
   * consumer.
   */
  async leave(): Promise<void> {
    this.#settlements.flush();
    await Promise.race([this.#settlements.whenIdle(), this.ended]);
    this.#stream.end();
    await this.ended;
  }

  /** Cancels the stream. */
  cancel(): void {
    this.#cancelling.abort();
    this.#stream.cancel();
  }

  settle(message: HeldMessage, outcome: Outcome): Promise<boolean> {
    return new Promise((resolve) => {
      const { partition, offsetNumber } = message;
      if (outcome.kind === 'ack') this.#settlements.acknowledge(partition, offsetNumber, resolve);
      else if (outcome.kind !== 'nack') this.#settleAtOnce(message, outcome, resolve);
      else {
        if (!this.#isOver) this.#events.nacking(message);
        this.#settleAtOnce(message, outcome, (isDurable) => {
          this.#events.nacked(message);
          resolve(isDurable);
        });
      }
      this.#events.settled(message);
    });
  }

  acknowledge(message: HeldMessage): void {
    this.#settlements.acknowledge(message.partition, message.offsetNumber);
    this.#events.settled(message);
  }

  extend(message: HeldMessage, byMs: number): Promise<boolean> {
    return new Promise((resolve) => this.#settleAtOnce(message, { kind: 'extend', byMs }, resolve));
  }

  #settleAtOnce(message: HeldMessage, outcome: Outcome, answered: (isDurable: boolean) => void): void {
    const { partition, offsetNumber } = message;
    const range = { partition, first: offsetNumber, last: offsetNumber };
    this.#settlements.settle(toSettlement(range, outcome), partition, offsetNumber, answered);
  }

  async #opened({ sessionId, ackDeadline }: SessionOpened): Promise<void> {
    const { topic, subscription: name, extendLeases } = this.#options;
    this.#id = sessionId;
    this.#client.connectionStates.answered();
    // Responses that arrive meanwhile wait in the transport.
    const { signal } = this.#cancelling;
    const limit = { signal, timeoutMs: openTimeoutMs };
    const found = await this.#client.admin.getSubscription({ topic, name }, limit);
    this.#ordering = found.subscription?.ordering ?? Ordering.PARTITION;
    const ackDeadlineMs = ackDeadline === undefined ? 0 : durationMs(ackDeadline);
    if (extendLeases && ackDeadlineMs > 0 && !this.#isOver) {
      this.#leases.start(ackDeadlineMs, () => this.#extendAll(ackDeadlineMs));
    }
  }

  #take({ revoked, settled, runs }: Response): void {
    // Revocations in a response apply to earlier deliveries, so they come before its messages.
    if (revoked.length > 0) {
      this.#settlements.revoke(revoked);
      this.#events.revoked(revoked);
    }
    if (settled !== undefined) this.#settlements.answered(settled.id, settled.stale);
    if (settled !== undefined || runs.length > 0) this.#hasDelivered = true;
    for (const run of runs) {
      this.#lastDeliveryId = Math.max(this.#lastDeliveryId, run.deliveryId);
      this.#events.delivered(this.#messagesOf(run), this.#ordering);
    }
  }

  #messagesOf(run: Run): HeldMessage[] {
    const count = run.bounds.length / 2;
    const messages: HeldMessage[] = [];
    for (let i = 0; i < count; i++) messages.push(new HeldMessage(this, run, run.firstOffset + i));
    return messages;
  }

  #extendAll(byMs: number): void {
    for (const range of heldRanges(this.#events.held())) {
      const settlement = toSettlement(range, { kind: 'extend', byMs });
      this.#settlements.settle(settlement, range.partition, range.first, () => {});
    }
  }

  #write(request: Buffer): void {
    // The reader of the stream gets the error of a stream that has ended.
    this.#stream.write(request).catch(() => {});
  }
}

/** Errors that no retry resolves. */
const finalCodes = new Set<number>([
  StatusCode.NOT_FOUND,
  StatusCode.FAILED_PRECONDITION,
  StatusCode.INVALID_ARGUMENT,
  StatusCode.PERMISSION_DENIED,
  StatusCode.UNAUTHENTICATED,
  StatusCode.UNIMPLEMENTED,
]);

export function isFinal({ code, reason }: SluiceError): boolean {
  if (reason === 'CLIENT_CLOSED') return true;
  return finalCodes.has(code) && reason !== 'SESSION_NOT_FOUND';
}

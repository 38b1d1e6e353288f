import type { Timestamp } from '@bufbuild/protobuf/wkt';
import { SluiceError, StatusCode } from '../errors.js';
import type { Delivery, NackOptions } from './delivery.js';
import type { Lane } from './lane.js';
import { type MessageFields, readMessage } from './message-fields.js';
import type { Run } from './response.js';
import type { Outcome } from './settlement.js';
import { invalidDuration } from './settlement.js';

/** The session to which a message is leased. */
export interface Lender {
  readonly topic: string;
  /** Settles a message. Resolves to whether the settlement is durable. Called once for a message. */
  settle(message: HeldMessage, outcome: Outcome): Promise<boolean>;
  /** Like `settle`, if no caller waits for the answer. */
  acknowledge(message: HeldMessage): void;
  extend(message: HeldMessage, byMs: number): Promise<boolean>;
}

type State =
  /** Leased to this consumer, and not settled. */
  | 'held'
  /** Settled by its handler or caller. The result is the answer of the broker. */
  | 'settled'
  /** No longer leased to this consumer. */
  | 'lost';

/** A message from its arrival until it is settled or lost. It is decoded by the first access. */
export class HeldMessage implements Delivery {
  readonly run: Run;
  readonly offsetNumber: number;
  readonly lender: Lender;
  lane!: Lane<HeldMessage>;
  #state: State = 'held';
  #fields: MessageFields | undefined;
  #abort: AbortController | undefined;

  constructor(lender: Lender, run: Run, offsetNumber: number) {
    this.lender = lender;
    this.run = run;
    this.offsetNumber = offsetNumber;
  }

  get topic(): string {
    return this.lender.topic;
  }

  get partition(): number {
    return this.run.partition;
  }

  get offset(): bigint {
    return BigInt(this.offsetNumber);
  }

  get attempt(): number {
    return this.run.attempt;
  }

  get publishTime(): Date {
    return new Date(this.run.publishTimeMs);
  }

  get producerId(): string {
    return this.run.producerId;
  }

  get key(): Buffer {
    return this.#decoded.key;
  }

  get payload(): Buffer {
    return this.#decoded.payload;
  }

  get headers(): Readonly<Record<string, string>> {
    return this.#decoded.headers;
  }

  get eventTime(): Date | undefined {
    const { eventTimestamp } = this.#decoded;
    if (eventTimestamp === undefined) return undefined;
    return new Date(Number(eventTimestamp.seconds) * 1000 + Math.floor(eventTimestamp.nanos / 1e6));
  }

  get eventTimestamp(): Timestamp | undefined {
    return this.#decoded.eventTimestamp;
  }

  get signal(): AbortSignal {
    this.#abort ??= new AbortController();
    if (this.#state === 'lost') this.#abort.abort(takenBack());
    return this.#abort.signal;
  }

  get isHeld(): boolean {
    return this.#state === 'held';
  }

  ack(): Promise<boolean> {
    return this.#settle({ kind: 'ack' });
  }

  async nack({ delayMs, reason = '' }: NackOptions = {}): Promise<boolean> {
    if (delayMs !== undefined && !(delayMs >= 0)) throw invalidDuration('delayMs', delayMs);
    return this.#settle({ kind: 'nack', delayMs, reason });
  }

  async deadLetter(reason = ''): Promise<boolean> {
    return this.#settle({ kind: 'deadLetter', reason });
  }

  async extend(byMs: number): Promise<boolean> {
    if (!(byMs > 0)) throw invalidDuration('byMs', byMs);
    return this.#state === 'held' && this.lender.extend(this, byMs);
  }

  /** Like `ack`, if no caller waits for the answer. */
  acknowledge(): void {
    if (this.#state !== 'held') return;
    this.#state = 'settled';
    this.lender.acknowledge(this);
  }

  /** The message is lost for this consumer: tells the handler or caller that has it. */
  lose(): void {
    if (this.#state === 'lost') return;
    this.#state = 'lost';
    this.#abort?.abort(takenBack());
  }

  get #decoded(): MessageFields {
    if (this.#fields !== undefined) return this.#fields;
    const { bytes, bounds, firstOffset } = this.run;
    const at = 2 * (this.offsetNumber - firstOffset);
    this.#fields = readMessage(bytes, bounds[at]!, bounds[at + 1]!);
    return this.#fields;
  }

  #settle(outcome: Outcome): Promise<boolean> {
    if (this.#state !== 'held') return Promise.resolve(false);
    this.#state = 'settled';
    return this.lender.settle(this, outcome);
  }
}

function takenBack(): SluiceError {
  const text = 'the message is not leased to this consumer any more: it comes again, here or elsewhere';
  return new SluiceError(text, { code: StatusCode.ABORTED, reason: 'LEASE_LOST' });
}

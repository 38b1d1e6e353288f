/**
 * The accounting of a fault test: what went in, what was promised, what came out, and every way in which these
 * contradict each other. Plain and slow on purpose: it has to be obviously right.
 *
 * It is told of events in the order in which the clients saw them, and at the end of all that is stored.
 */

/** Which message it is: the sequence of its producer, from 1. */
export interface Identity {
  readonly producer: string;
  readonly sequence: number;
}

export interface Position {
  readonly partition: number;
  readonly offset: number;
}

/** A message that came out of the broker. */
export interface Observed extends Position {
  /** Undefined: its bytes are not those of any message that was sent. */
  readonly identity: Identity | undefined;
}

export type ViolationKind =
  /** Receipted, and not stored at the end. */
  | 'lost'
  /** Stored more than once. */
  | 'doubled'
  /** Stored in another order than its producer sent it, within a partition. */
  | 'misordered'
  /** A message is stored although one that its producer sent before is not. */
  | 'hole'
  /** Stored or delivered, and never sent, or with other bytes. */
  | 'invented'
  /** One position held different messages at different times, or a delivered message is not stored. */
  | 'changed'
  /** Offsets of a partition that are missing. */
  | 'gap'
  /** Delivered after the answer that it was acknowledged. */
  | 'resettled'
  /** Delivered out of order. */
  | 'overtaken'
  /** Stored and never delivered although the subscription says that it is through. */
  | 'undelivered'
  /** The broker knows less of a producer than it has receipted. */
  | 'forgotten'
  /** What the broker answered contradicts what was asked, in some other way. */
  | 'contradiction';

export interface Violation {
  readonly kind: ViolationKind;
  readonly text: string;
}

interface ProducerAccount {
  sentThrough: number;
  receiptedThrough: number;
}

interface PartitionAccount {
  /** What was seen at each offset when it was first delivered. */
  readonly delivered: Map<number, string>;
  readonly settled: Set<number>;
  highestDelivered: number;
}

export class Ledger {
  readonly #producers = new Map<string, ProducerAccount>();
  readonly #partitions = new Map<number, PartitionAccount>();
  /** By session and partition: the last offset that the session was given. */
  readonly #lastOfSession = new Map<string, number>();
  readonly #violations: Violation[] = [];
  readonly #onViolation: (violation: Violation) => void;

  constructor(onViolation: (violation: Violation) => void = () => {}) {
    this.#onViolation = onViolation;
  }

  /** What was found so far. The checks of `close` come on top. */
  get violations(): readonly Violation[] {
    return this.#violations;
  }

  get receiptedCount(): number {
    let count = 0;
    for (const producer of this.#producers.values()) count += producer.receiptedThrough;
    return count;
  }

  get settledCount(): number {
    let count = 0;
    for (const partition of this.#partitions.values()) count += partition.settled.size;
    return count;
  }

  /** The producer has put its messages up to this one on the wire. */
  sent(producer: string, throughSequence: number): void {
    const account = this.#producer(producer);
    account.sentThrough = Math.max(account.sentThrough, throughSequence);
  }

  /** The broker has said that the messages up to this one are durable: a stream is a prefix. */
  receipted(producer: string, throughSequence: number): void {
    const account = this.#producer(producer);
    if (throughSequence > account.sentThrough) {
      this.report(
        'invented',
        `${producer}: a receipt for ${throughSequence}, sent was ${account.sentThrough}`,
      );
    }
    account.receiptedThrough = Math.max(account.receiptedThrough, throughSequence);
  }

  /** After a restart the broker says how far the producer has come. */
  resumed(producer: string, lastSequence: number): void {
    const { receiptedThrough } = this.#producer(producer);
    if (lastSequence < receiptedThrough) {
      this.report(
        'forgotten',
        `${producer}: ${receiptedThrough} was receipted, the broker knows ${lastSequence}`,
      );
    }
    this.receipted(producer, lastSequence);
  }

  /** A consumer was given a message. Sessions of this test neither fail messages nor let leases expire. */
  delivered(session: string, message: Observed): void {
    const { partition, offset } = message;
    const where = `${place(message)} to session ${session}`;
    const account = this.#partition(partition);
    const name = this.#nameOf(message);
    if (account.settled.has(offset)) this.report('resettled', `${where}: ${name} was acknowledged before`);

    const before = account.delivered.get(offset);
    if (before === undefined) account.delivered.set(offset, name);
    else if (before !== name) this.report('changed', `${where}: ${name}, it was ${before}`);

    if (offset > account.highestDelivered + 1) {
      this.report('overtaken', `${where}: ${account.highestDelivered + 1} was not delivered before`);
    }
    account.highestDelivered = Math.max(account.highestDelivered, offset);

    const last = this.#lastOfSession.get(`${session}/${partition}`);
    if (last !== undefined && offset <= last) this.report('overtaken', `${where}: after ${last}`);
    this.#lastOfSession.set(`${session}/${partition}`, offset);
  }

  /** The broker has answered that these are acknowledged. */
  settled(partition: number, firstOffset: number, lastOffset: number): void {
    const { settled } = this.#partition(partition);
    for (let offset = firstOffset; offset <= lastOffset; offset += 1) settled.add(offset);
  }

  report(kind: ViolationKind, text: string): void {
    const violation = { kind, text: `${kind}: ${text}` };
    this.#violations.push(violation);
    this.#onViolation(violation);
  }

  /**
   * The last entry: everything that is stored, each partition in the order of its offsets. The subscription has
   * to be through by then. Returns all violations.
   */
  close(stored: readonly Observed[]): readonly Violation[] {
    const placesOf = new Map<string, Position>();
    const nextOffset = new Map<number, number>();
    /** By partition and producer: the last sequence that was seen there. */
    const lastSequence = new Map<string, number>();

    for (const message of stored) {
      const { partition, offset, identity } = message;
      const name = this.#nameOf(message);
      const expected = nextOffset.get(partition) ?? 0;
      if (offset !== expected) this.report('gap', `${place(message)}: expected offset ${expected}`);
      nextOffset.set(partition, offset + 1);

      const first = placesOf.get(name);
      if (first !== undefined) this.report('doubled', `${name} at ${place(first)} and ${place(message)}`);
      else placesOf.set(name, message);

      if (identity !== undefined) {
        const key = `${partition}/${identity.producer}`;
        const last = lastSequence.get(key) ?? 0;
        if (identity.sequence < last) {
          this.report('misordered', `${place(message)}: ${name} behind ${identity.producer}#${last}`);
        }
        lastSequence.set(key, identity.sequence);
      }

      const delivered = this.#partition(partition).delivered.get(offset);
      if (delivered === undefined) this.report('undelivered', `${place(message)}: ${name}`);
      else if (delivered !== name) {
        this.report('changed', `${place(message)}: ${name} is stored, ${delivered} was delivered`);
      }
    }

    this.#checkProducers(placesOf);
    this.#checkDelivered(nextOffset);
    return this.#violations;
  }

  #checkProducers(placesOf: ReadonlyMap<string, Position>): void {
    for (const [producer, { sentThrough, receiptedThrough }] of this.#producers) {
      let missing = 0;
      for (let sequence = 1; sequence <= sentThrough; sequence += 1) {
        const name = nameOf({ producer, sequence });
        const isStored = placesOf.has(name);
        if (!isStored && sequence <= receiptedThrough) this.report('lost', `${name} was receipted`);
        if (isStored && missing > 0) this.report('hole', `${name} is stored, ${producer}#${missing} is not`);
        if (!isStored) missing = sequence;
      }
    }
  }

  #checkDelivered(nextOffset: ReadonlyMap<number, number>): void {
    for (const [partition, { delivered }] of this.#partitions) {
      const end = nextOffset.get(partition) ?? 0;
      for (const [offset, name] of delivered) {
        if (offset >= end) {
          this.report('changed', `${place({ partition, offset })}: ${name} was delivered and is not stored`);
        }
      }
    }
  }

  /** The message's name. Reports a message that was never sent. */
  #nameOf(message: Observed): string {
    const { identity } = message;
    if (identity === undefined) {
      this.report('invented', `${place(message)}: bytes that were never sent`);
      return `unknown bytes at ${place(message)}`;
    }
    const { sentThrough } = this.#producer(identity.producer);
    if (identity.sequence < 1 || identity.sequence > sentThrough) {
      this.report('invented', `${place(message)}: ${nameOf(identity)}, sent was up to ${sentThrough}`);
    }
    return nameOf(identity);
  }

  #producer(name: string): ProducerAccount {
    let account = this.#producers.get(name);
    if (account === undefined) {
      account = { sentThrough: 0, receiptedThrough: 0 };
      this.#producers.set(name, account);
    }
    return account;
  }

  #partition(partition: number): PartitionAccount {
    let account = this.#partitions.get(partition);
    if (account === undefined) {
      account = { delivered: new Map(), settled: new Set(), highestDelivered: -1 };
      this.#partitions.set(partition, account);
    }
    return account;
  }
}

function nameOf({ producer, sequence }: Identity): string {
  return `${producer}#${sequence}`;
}

function place({ partition, offset }: Position): string {
  return `${partition}@${offset}`;
}

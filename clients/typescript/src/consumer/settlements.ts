import type { Settlement } from '../gen/sluice/v1/broker_pb.js';
import { AckRanges } from './ack-ranges.js';
import { isIn, type Range } from './response.js';
import { encodeAcks, encodeSettlements, type RequestNumbers } from './settlement.js';

/** Called once. The argument says whether the settlement is durable. */
export type Answered = (isDurable: boolean) => void;

export interface SettlementsOptions {
  readonly ackIntervalMs: number;
  /** Sends this many acknowledgements at once: the broker may have stopped because the credit is used up. */
  readonly promptCount: () => number;
  /** The highest `delivery_id` that was read. */
  readonly lastDeliveryId: () => number;
  /** Resolves when there is room for the next request. */
  readonly write: (request: Buffer) => Promise<void>;
}

/** The maximum number of ranges in a request. A limit of the broker. */
const maxAcksPerRequest = 10_000;
/** The maximum number of other outcomes in a request: each can have a reason of 1,000 characters. */
const maxOthersPerRequest = 1_000;
/** The maximum number of requests without an answer. The broker stops reading a stream with many more. */
const maxUnansweredRequests = 50;

interface Waiting {
  readonly partition: number;
  readonly offset: number;
  readonly answered: Answered;
}

/** Settlements of one call, in one or several requests. */
interface Group {
  readonly waiting: readonly Waiting[];
  readonly stale: Range[];
  unansweredRequests: number;
}

interface Other extends Waiting {
  readonly settlement: Settlement;
}

/**
 * The settlements of one session. Acknowledgements are gathered and sent as ranges; other outcomes are sent at once.
 * Each request has an id, which the broker returns when the settlements of the request are durable.
 */
export class Settlements {
  readonly #options: SettlementsOptions;
  readonly #acks = new AckRanges();
  #ackWaiting: Waiting[] = [];
  #others: Other[] = [];
  readonly #unanswered = new Map<number, Group>();
  #idleWaiters: (() => void)[] = [];
  #timer: NodeJS.Timeout | undefined;
  /** The waiting settlements are to be sent as soon as possible. */
  #isDue = false;
  #isWriting = false;
  #isOver = false;
  #lastId = 0;

  constructor(options: SettlementsOptions) {
    this.#options = options;
  }

  acknowledge(partition: number, offset: number, answered?: Answered): void {
    if (this.#isOver) {
      answered?.(false);
      return;
    }
    this.#acks.add(partition, offset);
    if (answered !== undefined) this.#ackWaiting.push({ partition, offset, answered });
    if (this.#acks.count >= this.#options.promptCount()) this.flush();
    else this.#timer ??= setTimeout(() => this.flush(), this.#options.ackIntervalMs);
  }

  /** Sends another outcome at once, after the earlier acknowledgements. */
  settle(settlement: Settlement, partition: number, offset: number, answered: Answered): void {
    if (this.#isOver) {
      answered(false);
      return;
    }
    this.#others.push({ settlement, partition, offset, answered });
    this.flush();
  }

  /** Sends the waiting settlements as soon as possible. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#isDue = true;
    while (!this.#isWriting && this.#unanswered.size < maxUnansweredRequests && this.#sendNext());
    this.#look();
  }

  /**
   * The broker has taken these messages back. Drops their settlements that wait to be sent: such a settlement would
   * settle the next delivery of the message, if the client reads that delivery before it sends the settlement.
   */
  revoke(ranges: readonly Range[]): void {
    const isRevoked = ({ partition, offset }: Waiting) => isIn(ranges, partition, offset);
    for (const range of ranges) this.#acks.remove(range);
    const dropped = [...this.#ackWaiting.filter(isRevoked), ...this.#others.filter(isRevoked)];
    if (dropped.length > 0) {
      this.#ackWaiting = this.#ackWaiting.filter((waiting) => !isRevoked(waiting));
      this.#others = this.#others.filter((other) => !isRevoked(other));
      for (const { answered } of dropped) answered(false);
    }
    this.#look();
  }

  /** The broker has made a request durable, except the offsets that it lists as stale. */
  answered(id: number, stale: readonly Range[]): void {
    const group = this.#unanswered.get(id);
    if (group === undefined) return;
    this.#unanswered.delete(id);
    group.stale.push(...stale);
    group.unansweredRequests--;
    if (group.unansweredRequests === 0) {
      for (const { partition, offset, answered } of group.waiting) {
        answered(group.stale.length === 0 || !isIn(group.stale, partition, offset));
      }
    }
    if (this.#isDue) this.flush();
    else this.#look();
  }

  /** Resolves when nothing waits to be sent or answered. */
  async whenIdle(): Promise<void> {
    while (!this.#isIdle) await new Promise<void>((resolve) => this.#idleWaiters.push(resolve));
  }

  /** The session has ended: no settlement gets an answer. */
  drop(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
    const groups = [...new Set(this.#unanswered.values())];
    const waiting = [...groups.flatMap((group) => group.waiting), ...this.#ackWaiting, ...this.#others];
    this.#unanswered.clear();
    this.#acks.take();
    this.#ackWaiting = [];
    this.#others = [];
    for (const { answered } of waiting) answered(false);
    this.#look();
  }

  get #isIdle(): boolean {
    return this.#acks.count === 0 && this.#others.length === 0 && this.#unanswered.size === 0;
  }

  #look(): void {
    if (this.#acks.count === 0 && this.#others.length === 0) this.#isDue = false;
    if (this.#idleWaiters.length === 0 || !this.#isIdle) return;
    for (const wake of this.#idleWaiters.splice(0)) wake();
  }

  /** Sends acknowledgements in requests of their own, because the broker handles such requests faster. */
  #sendNext(): boolean {
    if (this.#acks.count > 0) {
      const waiting = this.#ackWaiting;
      this.#ackWaiting = [];
      this.#send(this.#acks.take(), waiting, maxAcksPerRequest, encodeAcks);
      return true;
    }
    if (this.#others.length === 0) return false;
    const others = this.#others;
    this.#others = [];
    const settlements = others.map(({ settlement }) => settlement);
    this.#send(settlements, others, maxOthersPerRequest, encodeSettlements);
    return true;
  }

  #send<T>(
    items: readonly T[],
    waiting: readonly Waiting[],
    mostPerRequest: number,
    encode: (some: T[], numbers: RequestNumbers) => Buffer,
  ): void {
    const lastDeliveryId = this.#options.lastDeliveryId();
    const group: Group = { waiting, stale: [], unansweredRequests: 0 };
    for (let from = 0; from < items.length; from += mostPerRequest) {
      const id = ++this.#lastId;
      group.unansweredRequests++;
      this.#unanswered.set(id, group);
      void this.#write(encode(items.slice(from, from + mostPerRequest), { id, lastDeliveryId }));
    }
  }

  async #write(request: Buffer): Promise<void> {
    this.#isWriting = true;
    // The reader of the stream gets the error of a stream that has ended.
    await this.#options.write(request).catch(() => {});
    this.#isWriting = false;
    if (this.#isDue) this.flush();
  }
}

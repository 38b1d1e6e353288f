import type { DeadlineHeap } from '../base/deadline-heap.js';
import { limits } from '../base/limits.js';
import type { Interval } from '../base/positions.js';
import type { Ledger } from './ledger.js';
import type { Outbox } from './outbox.js';
import { RangeSet } from './range-set.js';
import type { Session } from './session.js';

/** The outstanding messages of one key, and those that wait behind them. Exists only while there are any. */
export class KeyQueue {
  readonly key: number;
  /** The session that holds messages of the key. */
  holder: Session | undefined;
  heldCount = 0;
  /** Offsets, ascending, all behind the outstanding ones. */
  deferred: number[] = [];
  /**
   * The set that contains the first deferred message. Undefined during its backoff, or while it waits for the
   * holder.
   */
  openIn: RangeSet | undefined;
  /** The first deferred message is a suspect: it waits until no message of the key is outstanding. */
  isHeldBack = false;

  constructor(key: number) {
    this.key = key;
  }
}

/** Messages that any session may have. A suspect goes only to a session that holds nothing else. */
export interface FreeSets {
  readonly others: RangeSet;
  readonly suspects: RangeSet;
}

/**
 * The keys of one partition that are in use (ordering KEY). While a message of a key is outstanding, the key
 * belongs to one session: later messages of the key go to the same session, or wait here in order.
 *
 * Only the first deferred message of a key can be delivered next. It is in `free` if no session has the key, in
 * the set of the holder otherwise, or in the heap of backoffs.
 */
export class KeyQueues {
  readonly #free: FreeSets;
  readonly #waiting: DeadlineHeap<KeyQueue | Interval>;
  readonly #ledger: Ledger;
  readonly #outbox: Outbox;
  readonly #queues = new Map<number, KeyQueue>();
  readonly #reserved = new Map<Session, RangeSet>();
  #deferredCount = 0;

  constructor(free: FreeSets, waiting: DeadlineHeap<KeyQueue | Interval>, ledger: Ledger, outbox: Outbox) {
    this.#free = free;
    this.#waiting = waiting;
    this.#ledger = ledger;
    this.#outbox = outbox;
  }

  get deferredCount(): number {
    return this.#deferredCount;
  }

  /** False if so many messages wait that no more may be read beyond them. */
  get hasRoom(): boolean {
    return this.#deferredCount < limits.deferredMessages;
  }

  /** Sessions for which the next message of one of their keys can be delivered. */
  get reservedSessions(): Iterable<Session> {
    return this.#reserved.keys();
  }

  /** Messages that only this session may have. */
  reservedFor(session: Session): RangeSet | undefined {
    return this.#reserved.get(session);
  }

  /** Whether a message of this key that was never delivered may go to the session. */
  mayTake(key: number, session: Session): boolean {
    const queue = this.#queues.get(key);
    if (queue === undefined) return true;
    return queue.deferred.length === 0 && (queue.holder === undefined || queue.holder === session);
  }

  /** A message that was never delivered has to wait for its turn. */
  defer(key: number, offset: number, nowMs: number): void {
    const queue = this.#queueOf(key);
    queue.deferred.push(offset);
    this.#deferredCount += 1;
    if (queue.deferred.length === 1) this.#open(queue, nowMs);
  }

  /** The session has got a message: one that was never delivered, or the first deferred one. */
  take(key: number, offset: number, session: Session, nowMs: number): void {
    const queue = this.#queueOf(key);
    const isDeferred = queue.deferred[0] === offset;
    if (isDeferred) {
      this.#close(queue);
      queue.deferred.shift();
      this.#deferredCount -= 1;
    }
    queue.holder = session;
    queue.heldCount += 1;
    if (isDeferred) this.#open(queue, nowMs);
  }

  /** A message is no longer outstanding. With the last one, the key is free for any session. */
  end(key: number): void {
    const queue = this.#queues.get(key);
    if (queue === undefined) return;
    queue.heldCount -= 1;
    if (queue.heldCount > 0) return;
    const isOpen = queue.openIn !== undefined || queue.isHeldBack;
    if (isOpen) this.#close(queue);
    queue.holder = undefined;
    if (isOpen || queue.deferred.length === 0) this.#open(queue, Number.POSITIVE_INFINITY);
  }

  /** Messages that are no longer outstanding will be delivered again, in order with the deferred ones. */
  putBack(key: number, offsets: readonly number[], nowMs: number): void {
    const queue = this.#queueOf(key);
    this.#close(queue);
    const sorted = offsets.toSorted((a, b) => a - b);
    const isBefore = sorted.at(-1)! < (queue.deferred[0] ?? Number.POSITIVE_INFINITY);
    // They nearly always come before all deferred ones: then thousands of deferred messages need not be sorted
    // again.
    queue.deferred = isBefore
      ? sorted.concat(queue.deferred)
      : [...sorted, ...queue.deferred].sort((a, b) => a - b);
    this.#deferredCount += offsets.length;
    this.#open(queue, nowMs);
  }

  /** The backoff of its first message has ended. */
  retry(queue: KeyQueue, nowMs: number): void {
    this.#open(queue, nowMs);
  }

  /** Everything below `offset` has been settled. */
  dropBelow(offset: number): void {
    for (const queue of this.#queues.values()) {
      if ((queue.deferred[0] ?? offset) >= offset) continue;
      this.#close(queue);
      const kept = queue.deferred.filter((deferred) => deferred >= offset);
      this.#deferredCount -= queue.deferred.length - kept.length;
      queue.deferred = kept;
      // The time is not known here. Time 0 leaves a backoff that has ended to the next `wake`, which is due at
      // once.
      this.#open(queue, 0);
    }
  }

  /** Nothing is outstanding, and nothing waits. */
  clear(): void {
    for (const queue of this.#queues.values()) this.#close(queue);
    this.#queues.clear();
    this.#deferredCount = 0;
  }

  #queueOf(key: number): KeyQueue {
    let queue = this.#queues.get(key);
    if (queue === undefined) {
      queue = new KeyQueue(key);
      this.#queues.set(key, queue);
    }
    return queue;
  }

  /** Makes the first deferred message available, or forgets a key that is not in use. */
  #open(queue: KeyQueue, nowMs: number): void {
    const [head] = queue.deferred;
    if (head === undefined) {
      if (queue.heldCount === 0) this.#queues.delete(queue.key);
      return;
    }
    const retryAtMs = this.#ledger.retryAtMs(head);
    if (retryAtMs > nowMs) {
      this.#waiting.set(queue, retryAtMs);
      return;
    }
    const isSuspect = this.#ledger.isSuspect(head);
    if (isSuspect && queue.holder !== undefined) {
      queue.isHeldBack = true;
      return;
    }
    const free = isSuspect ? this.#free.suspects : this.#free.others;
    queue.openIn = queue.holder === undefined ? free : this.#reserve(queue.holder);
    queue.openIn.add(head, head);
  }

  #reserve(session: Session): RangeSet {
    this.#outbox.ready(session);
    let reserved = this.#reserved.get(session);
    if (reserved === undefined) {
      reserved = new RangeSet();
      this.#reserved.set(session, reserved);
    }
    return reserved;
  }

  #close(queue: KeyQueue): void {
    this.#waiting.delete(queue);
    queue.isHeldBack = false;
    const [head] = queue.deferred;
    if (queue.openIn === undefined || head === undefined) return;
    queue.openIn.remove(head, head);
    queue.openIn = undefined;
    const { holder } = queue;
    if (holder !== undefined && this.#reserved.get(holder)?.offsetCount === 0) this.#reserved.delete(holder);
  }
}

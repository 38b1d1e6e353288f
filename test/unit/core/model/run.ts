import assert from 'node:assert/strict';
import { createRandom, type Random } from '../../../../src/base/random.js';
import { mergedIntervals } from '../../../../src/core/intervals.js';
import { createSubscriptionState } from '../../../../src/core/subscription-state.js';
import type {
  Credit,
  DeliveryPolicy,
  Fetch,
  Outcome,
  ReadRun,
  Settlement,
  SubscriptionState,
} from '../../../../src/core/types.js';
import { Reference } from './reference.js';
import { bytesOf, intervalsOf, type ReferenceMessage } from './reference-records.js';

interface Read {
  readonly sessionId: string;
  readonly fetch: Fetch;
}

/** More rounds than any run needs: a backlog that is not settled by then never is. */
const maxDrainRounds = 5_000;

/**
 * Drives a subscription with random commands, and a reference beside it, and compares them after every step. It
 * stands in for the runtime: a session asks for more only after it was called ready or was just served, time
 * moves, reads take a while, bytes leave late or never.
 */
export class ModelRun {
  readonly #random: Random;
  readonly #policy: DeliveryPolicy;
  readonly #chance: number;
  readonly #reference: Reference;
  #subject: SubscriptionState;
  #nowMs = 0;
  #sessionCount = 0;
  readonly #runs: ReadRun[][] = [];
  readonly #awake = new Set<string>();
  readonly #declined = new Set<string>();
  #reads: Read[] = [];
  #unsent: number[] = [];
  #deadLetterRequests: { partition: number; offset: number }[] = [];
  /** Messages that a restart began to dead-letter. */
  readonly #recovered = new Set<string>();
  readonly #assigned = new Map<string, readonly number[]>();
  /** Cursors as they were when they were last said to be dirty: what a commit would hold. */
  readonly #committed: string[] = [];

  constructor(seed: number, ordering: DeliveryPolicy['ordering']) {
    this.#random = createRandom(seed);
    this.#chance = this.#random.next();
    this.#policy = {
      ordering,
      ackDeadlineMs: 1_000,
      minBackoffMs: this.#pick([0, 10, 100]),
      maxBackoffMs: 400,
      maxAttempts: this.#pick([1, 2, 3, Number.POSITIVE_INFINITY]),
    };
    this.#reference = new Reference(this.#policy, this.#chance);
    this.#subject = this.#create();
    for (let i = this.#below(3); i >= 0; i -= 1) this.#addPartition();
  }

  step(): void {
    const command = this.#below(100);
    if (command < 8) this.#openSession();
    else if (command < 11) this.#closeSession();
    else if (command < 16) this.#setCredit();
    else if (command < 30) this.#append(1 + this.#below(8));
    else if (command < 55) this.#serve();
    else if (command < 68) this.#answerRead();
    else if (command < 76) this.#send();
    else if (command < 88) this.#settle();
    else if (command < 94) this.#advance(this.#below(this.#below(5) === 0 ? 25_000 : 600));
    else if (command < 97) this.#answerDeadLetterRequest();
    else this.#rareCommand();
    this.#check();
  }

  /** Consumers that acknowledge all they get leave nothing behind, if they are told when to ask. */
  drain(): void {
    for (const sessionId of this.#subject.sessionIds) {
      const { credit } = this.#subject.sessionStatus(sessionId)!;
      if (credit.messages === 0 || credit.bytes === 0) this.#close(sessionId);
    }
    if (this.#subject.sessionIds.length === 0) this.#openSession({ messages: 3, bytes: 1_000 });
    this.#check();
    for (let round = 0; this.#isUnsettled(); round += 1) {
      if (round === maxDrainRounds) assert.fail(`not settled after ${round} rounds: ${this.#describe()}`);
      const isMoving = this.#drainRound();
      this.#check();
      if (isMoving) continue;
      const { wakeAtMs } = this.#subject;
      if (!Number.isFinite(wakeAtMs)) assert.fail(`nothing moves any more: ${this.#describe()}`);
      this.#advance(Math.max(0, wakeAtMs - this.#nowMs));
      this.#check();
    }
  }

  #drainRound(): boolean {
    for (const sessionId of this.#declined) this.#wakeUp(sessionId);
    this.#declined.clear();
    const hadWork =
      this.#awake.size + this.#reads.length + this.#unsent.length + this.#deadLetterRequests.length > 0;
    while (this.#awake.size > 0) this.#serve();
    while (this.#reads.length > 0) this.#lease(this.#reads.shift()!);
    while (this.#unsent.length > 0) this.#send();
    while (this.#deadLetterRequests.length > 0) this.#deadLetter(this.#deadLetterRequests.shift()!, true);
    let hasSettled = false;
    for (const message of this.#reference.all()) {
      if (message.state !== 'held') continue;
      const { partition, offset, holder } = message;
      this.#settleAs(holder, [{ partition, first: offset, last: offset, outcome: { kind: 'ack' } }]);
      hasSettled = true;
    }
    return hadWork || hasSettled;
  }

  // --- Commands ---------------------------------------------------------------------------------------------

  #addPartition(): void {
    const partition = this.#runs.length;
    this.#runs.push([]);
    this.#reference.addPartition();
    const cursor = this.#reference.cursor(partition);
    this.#committed.push(JSON.stringify(cursor));
    this.#subject.addPartition(partition, cursor, 0);
  }

  #append(count: number): void {
    const partition = this.#below(this.#runs.length);
    const messages = this.#reference.partitions[partition]!;
    const firstOffset = messages.length;
    const ends = new Uint32Array(count);
    const orderingKeys = new Uint32Array(count);
    const isTargetedElsewhere = this.#below(6) === 0;
    for (let i = 0; i < count; i += 1) {
      const bytes = 1 + this.#below(60);
      ends[i] = (ends[i - 1] ?? 0) + bytes;
      orderingKeys[i] = this.#below(5);
      this.#reference.append(partition, bytes, orderingKeys[i]!, isTargetedElsewhere);
    }
    const run = { firstOffset, count, ends, orderingKeys };
    this.#runs[partition]!.push(
      isTargetedElsewhere ? { ...run, ends: new Uint32Array(0), isTargetedElsewhere } : run,
    );
    this.#subject.setEnd(partition, messages.length);
  }

  #openSession(credit = this.#credit()): void {
    this.#sessionCount += 1;
    const sessionId = `session-${this.#sessionCount}`;
    this.#subject.openSession(sessionId, credit, this.#nowMs);
    this.#reference.open(sessionId, credit);
  }

  #closeSession(): void {
    const sessionId = this.#anySession();
    if (sessionId !== undefined) this.#close(sessionId);
  }

  #close(sessionId: string): void {
    const end = this.#pick(['left', 'cancelled', 'broke'] as const);
    this.#subject.closeSession(sessionId, end, this.#nowMs);
    this.#reference.close(sessionId, end, this.#nowMs);
    this.#awake.delete(sessionId);
    this.#assigned.delete(sessionId);
    // Some reads of a session that has ended are answered all the same.
    this.#reads = this.#reads.filter((read) => read.sessionId !== sessionId || this.#below(2) === 0);
  }

  #setCredit(): void {
    const sessionId = this.#anySession();
    if (sessionId === undefined) return;
    const credit = this.#credit();
    this.#subject.setCredit(sessionId, credit);
    this.#reference.setCredit(sessionId, credit);
  }

  #serve(): void {
    const sessionId = this.#pick([...this.#awake]);
    if (sessionId === undefined) return;
    if (this.#below(20) === 0) {
      // Its transport has no room: it asks when a frame has left.
      this.#subject.decline(sessionId);
      this.#awake.delete(sessionId);
      this.#declined.add(sessionId);
      return;
    }
    const answer = this.#subject.nextFetch(sessionId, this.#nowMs);
    if (answer.kind === 'fetch') {
      this.#reads.push({ sessionId, fetch: answer });
      assert.ok(this.#reference.hasCredit(sessionId), `${sessionId} may read without credit`);
      return;
    }
    this.#awake.delete(sessionId);
    if (answer.reason === 'messageCredit' || answer.reason === 'byteCredit') {
      assert.ok(!this.#reference.hasCredit(sessionId), `${sessionId} has credit but waits for it`);
    }
    if (answer.reason === 'reading')
      assert.ok(this.#reads.length > 0, 'waits for a read that is not under way');
    if (answer.reason !== 'caughtUp') return;
    const missed = this.#reference.all().find((message) => this.#isFree(message, sessionId));
    assert.equal(missed, undefined, `${sessionId} is not caught up`);
  }

  #answerRead(): void {
    if (this.#reads.length === 0) return;
    const [read] = this.#reads.splice(this.#below(this.#reads.length), 1);
    if (this.#below(10) > 0) this.#lease(read!);
    else this.#abandon(read!);
  }

  #abandon({ sessionId, fetch }: Read): void {
    this.#subject.abandon(sessionId, fetch);
    this.#wakeUp(sessionId);
  }

  /** Its read has been answered: the session may ask for the next one. */
  #wakeUp(sessionId: string): void {
    if (this.#subject.sessionIds.includes(sessionId)) this.#awake.add(sessionId);
  }

  #lease({ sessionId, fetch }: Read): void {
    const stored = this.#runs[fetch.partition]!;
    const start = stored.findIndex((run) => run.firstOffset + run.count > fetch.offset);
    const runs = stored.slice(start, start + 1 + this.#below(3));
    const delivery = this.#subject.lease(sessionId, fetch, runs, this.#nowMs);
    this.#wakeUp(sessionId);
    this.#passOver(fetch.partition, runs);
    if (delivery === undefined) return;
    this.#unsent.push(delivery.deliveryId);
    for (const { run, from, to, attempt } of delivery.runs) {
      assert.ok(from < to, 'an empty run is delivered');
      for (let i = from; i < to; i += 1) {
        const message = this.#reference.partitions[fetch.partition]![runs[run]!.firstOffset + i]!;
        const name = `${message.partition}/${message.offset} to ${sessionId}`;
        const objection = this.#reference.objection(message, sessionId, this.#nowMs);
        assert.equal(objection, undefined, `${name} was leased although ${objection}`);
        assert.equal(attempt, message.attempts + 1, `${name}: wrong attempt`);
        assert.ok(this.#reference.hasCredit(sessionId), `${name} was leased without credit`);
        this.#reference.lease(message, sessionId, delivery.deliveryId, this.#nowMs);
      }
    }
  }

  /** What is for another subscription may be settled whenever it is read. That it is in the end, `drain` finds. */
  #passOver(partition: number, runs: readonly ReadRun[]): void {
    for (const { firstOffset, count, isTargetedElsewhere } of runs) {
      if (isTargetedElsewhere !== true) continue;
      for (const message of this.#reference.partitions[partition]!.slice(firstOffset, firstOffset + count)) {
        const { kind } = this.#subject.status(partition, message.offset);
        if (kind === 'done' && message.state !== 'settled') this.#reference.passOver(message);
      }
    }
  }

  #send(): void {
    if (this.#unsent.length === 0) return;
    const [deliveryId] = this.#unsent.splice(this.#below(this.#unsent.length), 1);
    this.#subject.sent(deliveryId!, this.#nowMs);
    this.#reference.sent(deliveryId!, this.#nowMs);
  }

  #settle(): void {
    const sessionId = this.#anySession();
    if (sessionId === undefined) return;
    const settlements: Settlement[] = [];
    for (let i = this.#below(3); i >= 0; i -= 1) {
      const target = this.#pick(this.#reference.heldBy(sessionId)) ?? this.#pick(this.#reference.all());
      if (target === undefined) return;
      const first = Math.max(0, target.offset - this.#pick([0, 0, 0, 1, 5, 1_000]));
      const last = target.offset + this.#pick([0, 0, 0, 1, 4, 1_000]);
      settlements.push({ partition: target.partition, first, last, outcome: this.#outcome() });
    }
    // Sometimes of a consumer that has not read all that was delivered to it.
    const lastDeliveryId = this.#pick(this.#reference.all())?.deliveryId;
    this.#settleAs(sessionId, settlements, this.#below(3) === 0 ? lastDeliveryId : undefined);
  }

  #settleAs(sessionId: string, settlements: readonly Settlement[], lastDeliveryId?: number): void {
    const expected = this.#reference.settle(sessionId, settlements, this.#nowMs, lastDeliveryId);
    const { settledCount, stale, settledBefore } = this.#subject.settle(
      sessionId,
      settlements,
      this.#nowMs,
      lastDeliveryId,
    );
    const contradicting = (settledBefore ?? []).flatMap(({ partition, first, last, outcome }) =>
      this.#reference.partitions[partition]!.filter(
        ({ offset, hasNote }) => offset >= first && offset <= last && (outcome === 'ack') === hasNote,
      ),
    );
    const all = [...stale, ...intervalsOf(contradicting)];
    assert.deepEqual({ settledCount, stale: mergedIntervals(all) }, expected);
  }

  #advance(byMs: number): void {
    this.#nowMs += byMs;
    if (this.#subject.wakeAtMs > this.#nowMs) {
      const due = this.#reference.all().find((m) => m.state === 'held' && m.deadlineMs <= this.#nowMs);
      assert.equal(due, undefined, 'a lease is due, and no wake-up is asked for');
      return;
    }
    this.#subject.wake(this.#nowMs);
    this.#reference.expire(this.#nowMs);
    assert.ok(this.#subject.wakeAtMs > this.#nowMs, 'what was due is still due');
  }

  #answerDeadLetterRequest(): void {
    if (this.#deadLetterRequests.length === 0) return;
    const [request] = this.#deadLetterRequests.splice(this.#below(this.#deadLetterRequests.length), 1);
    this.#deadLetter(request!, this.#below(3) > 0 || this.#isOutOfOrder(request!));
  }

  #deadLetter({ partition, offset }: { partition: number; offset: number }, isPossible: boolean): void {
    if (isPossible) {
      this.#subject.deadLettered(partition, offset);
      this.#reference.deadLettered(partition, offset);
    } else {
      this.#subject.deadLetterFailed(partition, offset, this.#nowMs);
      this.#reference.deadLetterFailed(partition, offset, this.#nowMs);
    }
  }

  /** After a restart the key of a message that is dead-lettered at once is not known: no order is promised for it. */
  #isOutOfOrder(request: { partition: number; offset: number }): boolean {
    return this.#policy.ordering === 'key' && this.#recovered.has(`${request.partition}/${request.offset}`);
  }

  #rareCommand(): void {
    const partition = this.#below(this.#runs.length);
    const offset = this.#below(this.#reference.partitions[partition]!.length + 1);
    const command = this.#below(4);
    if (command === 0 && this.#runs.length < 5) {
      this.#addPartition();
    } else if (command === 1) {
      this.#subject.setFirst(partition, offset >> 1);
      this.#reference.dropBelow(partition, offset >> 1);
    } else if (command === 2) {
      this.#subject.seek(partition, offset, this.#nowMs);
      this.#reference.seek(partition, offset);
    } else if (command === 3) {
      this.#restart();
    }
  }

  /** What was committed is all that is left. */
  #restart(): void {
    this.#subject = this.#create();
    this.#reference.restart();
    this.#awake.clear();
    this.#assigned.clear();
    this.#reads = [];
    this.#unsent = [];
    this.#deadLetterRequests = [];
    for (const { partition, offset } of this.#reference.deadLetterRequests)
      this.#recovered.add(`${partition}/${offset}`);
    for (const [partition, json] of this.#committed.entries()) {
      this.#subject.addPartition(partition, JSON.parse(json), this.#reference.partitions[partition]!.length);
    }
  }

  // --- Comparing --------------------------------------------------------------------------------------------

  #check(): void {
    this.#takeEffects();
    for (const message of this.#reference.all()) {
      const { partition, offset } = message;
      const expected = JSON.stringify(this.#reference.messageState(message));
      const actual = JSON.stringify(this.#subject.status(partition, offset));
      if (actual !== expected) assert.equal(actual, expected, `state of ${partition}/${offset}`);
    }
    for (const partition of this.#runs.keys()) this.#checkPartition(partition);
    for (const sessionId of this.#subject.sessionIds) this.#checkSession(sessionId);
  }

  #takeEffects(): void {
    const effects = this.#subject.takeEffects();
    for (const partition of effects.dirtyPartitions) {
      this.#committed[partition] = JSON.stringify(this.#subject.cursor(partition));
    }
    const order = (a: { partition: number; offset: number }, b: { partition: number; offset: number }) =>
      a.partition - b.partition || a.offset - b.offset;
    assert.deepEqual(
      effects.deadLetterRequests.toSorted(order),
      this.#reference.deadLetterRequests.toSorted(order),
    );
    this.#reference.deadLetterRequests = [];
    this.#deadLetterRequests.push(...effects.deadLetterRequests);
    for (const { sessionId, partitions } of effects.assignments) this.#assigned.set(sessionId, partitions);
    for (const sessionId of effects.ready) {
      assert.ok(this.#subject.sessionIds.includes(sessionId), `${sessionId} has ended and is called ready`);
      this.#awake.add(sessionId);
    }
  }

  #checkPartition(partition: number): void {
    const messages = this.#reference.partitions[partition]!;
    const expected = this.#reference.cursor(partition);
    assert.deepEqual(this.#subject.cursor(partition), expected, `cursor of ${partition}`);
    assert.equal(
      this.#committed[partition],
      JSON.stringify(expected),
      `${partition} changed, but is not dirty`,
    );
    const status = this.#subject.partitionStatus(partition);
    const count = (isCounted: (m: ReferenceMessage) => boolean) => messages.filter(isCounted).length;
    assert.equal(
      status.outstandingMessageCount,
      count(({ state }) => state === 'held'),
    );
    assert.equal(
      status.backlogMessageCount,
      count(({ state }) => state !== 'settled'),
    );
  }

  #checkSession(sessionId: string): void {
    const held = this.#reference.heldBy(sessionId);
    const status = this.#subject.sessionStatus(sessionId)!;
    assert.equal(status.outstandingMessageCount, held.length, `messages of ${sessionId}`);
    assert.equal(status.outstandingBytes, bytesOf(held), `bytes of ${sessionId}`);
    if (this.#policy.ordering !== 'partition') return;
    assert.deepEqual(status.partitions, this.#assigned.get(sessionId), `partitions of ${sessionId}`);
    for (const { partition } of held)
      assert.ok(status.partitions.includes(partition), 'held without having it');
    if (this.#reference.all().some(({ state }) => state === 'held')) return;
    if (!this.#reference.mayServe(sessionId))
      assert.deepEqual(status.partitions, [], `${sessionId} is silent`);
    if ([...this.#reference.sessions.values()].some(({ isSilent }) => isSilent)) return;
    const share = Math.floor(this.#runs.length / this.#subject.sessionIds.length);
    assert.ok([share, share + 1].includes(status.partitions.length), `uneven: ${status.partitions}`);
  }

  // --- Chance -----------------------------------------------------------------------------------------------

  #create(): SubscriptionState {
    return createSubscriptionState(this.#policy, { next: () => this.#chance });
  }

  #below(end: number): number {
    return Math.floor(this.#random.next() * end);
  }

  #pick<T>(items: readonly [T, ...T[]]): T;
  #pick<T>(items: readonly T[]): T | undefined;
  #pick<T>(items: readonly T[]): T | undefined {
    return items[this.#below(items.length)];
  }

  #credit(): Credit {
    return { messages: this.#pick([0, 1, 2, 5, 20]), bytes: this.#pick([0, 1, 100, 400, 10_000]) };
  }

  #outcome(): Outcome {
    const kind = this.#below(20);
    if (kind < 11) return { kind: 'ack' };
    if (kind < 14) return { kind: 'nack' };
    if (kind < 16) return { kind: 'nack', delayMs: this.#pick([0, 50, 700]), reason: 'no luck' };
    if (kind < 19) return { kind: 'extend', byMs: this.#pick([0, 300, 3_000]) };
    return { kind: 'deadLetter', reason: 'hopeless' };
  }

  #anySession(): string | undefined {
    return this.#pick(this.#subject.sessionIds);
  }

  #isFree(message: ReferenceMessage, sessionId: string): boolean {
    const isMine = this.#assigned.get(sessionId)?.includes(message.partition) ?? true;
    return isMine && this.#reference.objection(message, sessionId, this.#nowMs) === undefined;
  }

  #isUnsettled(): boolean {
    return this.#reference.all().some(({ state }) => state !== 'settled');
  }

  #describe(): string {
    const open = this.#reference.all().filter(({ state }) => state !== 'settled');
    return JSON.stringify({ nowMs: this.#nowMs, open: open.slice(0, 5), policy: this.#policy });
  }
}

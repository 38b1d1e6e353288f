import type { CursorState } from '../../../../src/base/positions.js';
import { transitMs } from '../../../../src/core/deliveries-in-transit.js';
import { leaseLapsed, nackedReason, streamEnded } from '../../../../src/core/failures.js';
import { silenceMs } from '../../../../src/core/silences.js';
import type {
  Credit,
  DeadLetterRequest,
  DeliveryPolicy,
  MessageState,
  Outcome,
  SessionEnd,
  Settlement,
  SettleResult,
} from '../../../../src/core/types.js';
import {
  bytesOf,
  hasSameOutcome,
  intervalsOf,
  isPaused,
  orderObjection,
  type ReferenceDelivery,
  type ReferenceMessage,
  type ReferenceSession,
} from './reference-records.js';

/** The state of a subscription over an array of messages for each partition: every question is a loop. */
export class Reference {
  readonly partitions: ReferenceMessage[][] = [];
  readonly deadLetterCounts: number[] = [];
  seekCount = 0;
  deadLetterRequests: DeadLetterRequest[] = [];
  readonly sessions = new Map<string, ReferenceSession>();
  readonly #unsent = new Map<number, ReferenceDelivery>();
  /** A transport took nothing for long, and no other session could take its messages. */
  #isTakeBackDue = false;
  /** Sessions that got credit since. */
  readonly #gotCredit = new Set<string>();
  #policy: DeliveryPolicy;
  readonly #chance: number;
  readonly #all: ReferenceMessage[] = [];

  constructor(policy: DeliveryPolicy, chance: number) {
    this.#policy = policy;
    this.#chance = chance;
  }

  setPolicy(policy: DeliveryPolicy): void {
    this.#policy = policy;
  }

  /** The same once more, to come back to. */
  clone(): Reference {
    const copy = new Reference(this.#policy, this.#chance);
    copy.deadLetterCounts.push(...this.deadLetterCounts);
    copy.deadLetterRequests = [...this.deadLetterRequests];
    for (const [sessionId, session] of this.sessions) copy.sessions.set(sessionId, { ...session });
    for (const messages of this.partitions) {
      const copies = messages.map((message) => ({ ...message }));
      copy.partitions.push(copies);
      copy.#all.push(...copies);
    }
    return copy;
  }

  addPartition(): void {
    this.partitions.push([]);
    this.deadLetterCounts.push(0);
  }

  append(partition: number, bytes: number, key: number, isTargetedElsewhere = false): void {
    const messages = this.partitions[partition]!;
    const message: ReferenceMessage = {
      partition,
      offset: messages.length,
      bytes,
      key,
      isTargetedElsewhere,
      state: 'pending',
      attempts: 0,
      retryAtMs: 0,
      deadLetterAttempts: 0,
      holder: '',
      deliveryId: 0,
      deadlineMs: Number.POSITIVE_INFINITY,
      isSent: false,
      takeBackCount: 0,
      isInOneBreak: false,
      isSuspect: false,
      hasNote: false,
    };
    messages.push(message);
    this.#all.push(message);
  }

  open(sessionId: string, credit: Credit): void {
    this.sessions.set(sessionId, {
      credit,
      isPaused: isPaused(credit),
      hasSettled: false,
      isSilent: false,
      silentUntilMs: 0,
      silenceCount: 0,
      isStuck: false,
      hasMoved: false,
      lastLeftAtMs: Number.NEGATIVE_INFINITY,
    });
    this.#mayHaveCredit(sessionId);
  }

  setCredit(sessionId: string, credit: Credit): void {
    const session = this.sessions.get(sessionId)!;
    session.credit = credit;
    session.isPaused = isPaused(credit);
    this.#heard(sessionId);
    this.#mayHaveCredit(sessionId);
  }

  #heard(sessionId: string): void {
    const session = this.sessions.get(sessionId)!;
    if (session.isStuck) return;
    session.silenceCount = 0;
    if (!session.isSilent) return;
    session.isSilent = false;
    this.#mayHaveCredit(sessionId);
  }

  hasCredit(sessionId: string): boolean {
    const held = this.heldBy(sessionId);
    const { credit } = this.sessions.get(sessionId)!;
    const isIsolated = held.some(({ isSuspect }) => isSuspect);
    return !isIsolated && held.length < credit.messages && bytesOf(held) < credit.bytes;
  }

  #mayHaveCredit(sessionId: string): void {
    const { isSilent } = this.sessions.get(sessionId)!;
    if (this.#isTakeBackDue && !isSilent && this.hasCredit(sessionId)) this.#gotCredit.add(sessionId);
  }

  /** A session that let a lease lapse gets nothing while another one could. */
  mayServe(sessionId: string): boolean {
    if (this.sessions.get(sessionId)?.isSilent !== true) return true;
    return [...this.sessions.values()].every(({ isSilent, isPaused }) => isSilent || isPaused);
  }

  all(): readonly ReferenceMessage[] {
    return this.#all;
  }

  heldBy(sessionId: string): ReferenceMessage[] {
    return this.all().filter(({ state, holder }) => state === 'held' && holder === sessionId);
  }

  /** Why this message must not go to this session now; undefined when it may. */
  objection(message: ReferenceMessage, sessionId: string, nowMs: number): string | undefined {
    if (message.isTargetedElsewhere) return 'it is for another subscription';
    if (message.state !== 'pending') return `it is ${message.state}`;
    if (message.retryAtMs > nowMs) return `it waits until ${message.retryAtMs}`;
    if (!this.mayServe(sessionId)) return `${sessionId} is silent, and another session is not`;
    const held = this.heldBy(sessionId);
    if (held.some(({ isSuspect }) => isSuspect)) return `${sessionId} holds a suspect`;
    if (message.isSuspect && held.length > 0) return `it is a suspect, and ${sessionId} holds something`;
    for (const other of this.partitions[message.partition]!) {
      if (other.isTargetedElsewhere || !this.#isOrdered(message, other)) continue;
      const objection = orderObjection(message, other, sessionId);
      if (objection !== undefined) return objection;
    }
    return undefined;
  }

  lease(message: ReferenceMessage, sessionId: string, deliveryId: number, nowMs: number): void {
    const others = this.#unsent.get(deliveryId)?.takeBackCount ?? 0;
    const takeBackCount = Math.max(others, message.takeBackCount);
    this.#unsent.set(deliveryId, { sessionId, leasedAtMs: nowMs, takeBackCount, isTakenBack: false });
    message.state = 'held';
    message.holder = sessionId;
    message.deliveryId = deliveryId;
    message.deadlineMs = Number.POSITIVE_INFINITY;
    message.isSent = false;
  }

  sent(deliveryId: number, nowMs: number): void {
    const unsent = this.#unsent.get(deliveryId);
    this.#unsent.delete(deliveryId);
    const sender = this.sessions.get(unsent?.sessionId ?? '');
    if (sender?.isStuck) sender.hasMoved = true;
    if (sender !== undefined) sender.lastLeftAtMs = nowMs;
    for (const message of this.all()) {
      if (message.state !== 'held' || message.deliveryId !== deliveryId) continue;
      message.isSent = true;
      message.takeBackCount = 0;
      if (message.deadlineMs === Number.POSITIVE_INFINITY)
        message.deadlineMs = nowMs + this.#policy.ackDeadlineMs;
    }
  }

  settle(
    sessionId: string,
    settlements: readonly Settlement[],
    nowMs: number,
    lastDeliveryId = Number.POSITIVE_INFINITY,
  ): SettleResult {
    const session = this.sessions.get(sessionId)!;
    this.#heard(sessionId);
    let settledCount = 0;
    const stale: ReferenceMessage[] = [];
    for (const { partition, first, last, outcome } of settlements) {
      const asked = this.partitions[partition]!.filter(({ offset }) => offset >= first && offset <= last);
      const held = asked.filter(
        ({ state, holder, deliveryId }) =>
          state === 'held' && holder === sessionId && deliveryId <= lastDeliveryId,
      );
      stale.push(...asked.filter((m) => !held.includes(m) && !hasSameOutcome(m, outcome)));
      if (outcome.kind !== 'extend') settledCount += held.length;
      this.#apply(held, outcome, nowMs);
    }
    if (settledCount > 0) {
      session.hasSettled = true;
      this.#mayHaveCredit(sessionId);
    }
    return { settledCount, stale: intervalsOf(stale) };
  }

  expire(nowMs: number): void {
    for (const [sessionId, session] of this.sessions) {
      if (session.silentUntilMs <= nowMs && !session.isStuck) session.isSilent = false;
      if (!session.hasMoved) continue;
      session.hasMoved = false;
      session.isStuck = false;
      this.#heard(sessionId);
    }
    for (const messages of this.partitions) {
      const due = messages.filter(({ state, deadlineMs }) => state === 'held' && deadlineMs <= nowMs);
      for (const sessionId of new Set(due.map(({ holder }) => holder))) {
        const session = this.sessions.get(sessionId)!;
        if (!session.isSilent) {
          session.silenceCount += 1;
          session.silentUntilMs = nowMs + silenceMs(this.#policy, session.silenceCount);
        }
        session.isSilent = true;
        const ended = due.filter(({ holder }) => holder === sessionId);
        const atWork = this.#atWork(sessionId);
        this.#fail(
          ended.filter((message) => atWork.includes(message)),
          leaseLapsed.reason,
          undefined,
          nowMs,
        );
        this.#returned(ended.filter(({ state }) => state === 'held'));
      }
    }
    this.#takeBackUnsent(nowMs);
  }

  /** Of sessions whose transport has taken nothing for long, while there is another one that could take it. */
  #takeBackUnsent(nowMs: number): void {
    const stuck = new Set<string>();
    const able = [...this.sessions.keys()].filter((id) => this.#isAble(id));
    this.#isTakeBackDue = false;
    for (const sessionId of new Set([...this.#unsent.values()].map((unsent) => unsent.sessionId))) {
      if (!this.#isTransportDue(sessionId, nowMs)) continue;
      if (!able.some((id) => id !== sessionId && !stuck.has(id))) {
        this.#isTakeBackDue = true;
        continue;
      }
      stuck.add(sessionId);
      const session = this.sessions.get(sessionId)!;
      session.isSilent = true;
      session.isStuck = true;
    }
    this.#gotCredit.clear();
    for (const id of stuck) {
      const unsent = this.heldBy(id).filter(({ isSent }) => !isSent);
      for (const message of unsent) {
        message.takeBackCount = this.#unsent.get(message.deliveryId)!.takeBackCount + 1;
      }
      for (const delivery of this.#unsentOf(id)) delivery.isTakenBack = true;
      this.#returned(unsent);
    }
  }

  #isAble(sessionId: string): boolean {
    const session = this.sessions.get(sessionId)!;
    if (session.isSilent || session.isPaused) return false;
    return this.hasCredit(sessionId) || this.#gotCredit.has(sessionId);
  }

  #isTransportDue(sessionId: string, nowMs: number): boolean {
    const waiting = this.#unsentOf(sessionId);
    if (waiting.length === 0) return false;
    const sinceMs = Math.max(waiting[0]!.leasedAtMs, this.sessions.get(sessionId)!.lastLeftAtMs);
    const takeBackCount = Math.max(...waiting.map((unsent) => unsent.takeBackCount));
    return sinceMs + transitMs(this.#policy, takeBackCount) <= nowMs;
  }

  #unsentOf(sessionId: string): ReferenceDelivery[] {
    return [...this.#unsent.values()].filter(
      (unsent) => unsent.sessionId === sessionId && !unsent.isTakenBack,
    );
  }

  close(sessionId: string, end: SessionEnd, nowMs: number): void {
    const { hasSettled } = this.sessions.get(sessionId)!;
    this.sessions.delete(sessionId);
    this.#gotCredit.delete(sessionId);
    for (const [id, unsent] of this.#unsent) if (unsent.sessionId === sessionId) this.#unsent.delete(id);
    if (this.#unsent.size === 0) this.#isTakeBackDue = false;
    const atWork = this.#atWork(sessionId).filter(({ isSent }) => isSent);
    if (end === 'broke' || (end === 'cancelled' && hasSettled)) {
      if (atWork.length === 1) this.#fail(atWork, streamEnded[end].reason, 0, nowMs);
      else for (const message of atWork) this.#streamBroke(message);
    }
    this.#returned(this.heldBy(sessionId));
  }

  /** What a session may be working on: whatever has nothing before it that the session would have to do first. */
  #atWork(sessionId: string): ReferenceMessage[] {
    const held = this.heldBy(sessionId);
    return held.filter(
      (message) =>
        !held.some(
          (other) =>
            other.partition === message.partition &&
            other.offset < message.offset &&
            this.#isOrdered(message, other),
        ),
    );
  }

  #streamBroke(message: ReferenceMessage): void {
    message.isSuspect ||= message.isInOneBreak;
    message.isInOneBreak = true;
  }

  deadLettered(partition: number, offset: number): void {
    const message = this.partitions[partition]![offset]!;
    this.deadLetterCounts[partition]! += 1;
    message.deadLetterAttempts = 0;
    message.hasNote = true;
    this.#settleOne(message);
  }

  deadLetterFailed(partition: number, offset: number, nowMs: number): void {
    const message = this.partitions[partition]![offset]!;
    message.deadLetterAttempts = 0;
    if (message.state !== 'deadLettering') return;
    if (message.attempts > 0) message.retryAtMs = nowMs + this.#backoffMs(message.attempts);
    this.#returned([message]);
  }

  /** The subscription has seen that this is not for it. */
  passOver(message: ReferenceMessage): void {
    this.#settleOne(message);
  }

  dropBelow(partition: number, first: number): void {
    for (const message of this.partitions[partition]!) if (message.offset < first) this.#settleOne(message);
  }

  seek(partition: number, offset: number): void {
    this.seekCount += 1;
    for (const message of this.partitions[partition]!) {
      message.attempts = 0;
      message.retryAtMs = 0;
      message.takeBackCount = 0;
      message.isSuspect = false;
      message.isInOneBreak = false;
      if (message.offset >= offset && message.deadLetterAttempts === 0) message.hasNote = false;
      if (message.offset < offset) message.state = 'settled';
      else message.state = message.deadLetterAttempts > 0 ? 'deadLettering' : 'pending';
    }
  }

  /** The broker went down: leases, backoffs and dead-letter requests are forgotten, what the cursor says is not. */
  restart(): void {
    this.deadLetterRequests = [];
    this.sessions.clear();
    this.#unsent.clear();
    this.#isTakeBackDue = false;
    this.#gotCredit.clear();
    for (const message of this.all()) {
      message.retryAtMs = 0;
      message.takeBackCount = 0;
      message.isSuspect = false;
      message.isInOneBreak = false;
      message.deadLetterAttempts = 0;
      if (message.state === 'settled') continue;
      message.state = 'pending';
      if (message.attempts >= this.#policy.maxAttempts) {
        this.#deadLetter(message, 'max attempts reached before a restart of the broker');
      }
    }
  }

  messageState(message: ReferenceMessage): MessageState {
    const failedAttempts = message.attempts;
    if (message.state === 'settled') return { kind: 'done' };
    if (message.state === 'deadLettering')
      return { kind: 'failed', failedAttempts: message.deadLetterAttempts };
    if (message.state === 'held') return { kind: 'processing', failedAttempts, sessionId: message.holder };
    return { kind: 'pending', failedAttempts };
  }

  cursor(partition: number): CursorState {
    const messages = this.partitions[partition]!;
    const open = messages.find(({ state }) => state !== 'settled')?.offset ?? messages.length;
    const settled = messages.filter(({ state, offset }) => state === 'settled' && offset > open);
    return {
      acknowledgedOffset: open,
      settled: intervalsOf(settled).map(({ first, last }) => ({ first, last })),
      failed: messages
        .filter(({ state, attempts }) => state !== 'settled' && attempts > 0)
        .map(({ offset, attempts }) => ({ offset, attempts })),
      deadLetterCount: this.deadLetterCounts[partition]!,
    };
  }

  #isOrdered(a: ReferenceMessage, b: ReferenceMessage): boolean {
    if (this.#policy.ordering === 'partition') return true;
    return this.#policy.ordering === 'key' && a.key !== 0 && a.key === b.key;
  }

  #apply(held: ReferenceMessage[], outcome: Outcome, nowMs: number): void {
    switch (outcome.kind) {
      case 'ack':
        for (const message of held) this.#settleOne(message);
        return;
      case 'extend':
        for (const message of held) message.deadlineMs = nowMs + outcome.byMs;
        return;
      case 'deadLetter':
        for (const message of held) {
          message.attempts += 1;
          message.retryAtMs = 0;
          this.#deadLetter(message, outcome.reason);
        }
        return;
      case 'nack':
        for (const message of held) message.isSuspect = message.isInOneBreak = false;
        this.#fail(held, outcome.reason || nackedReason, outcome.delayMs, nowMs);
        this.#returned(held.filter(({ state }) => state === 'held'));
    }
  }

  #settleOne(message: ReferenceMessage): void {
    message.state = 'settled';
    message.isSuspect = false;
    message.isInOneBreak = false;
    message.attempts = 0;
    message.retryAtMs = 0;
  }

  /** Counts failures. What is not dead-lettered stays held, until `#returned`. */
  #fail(
    messages: readonly ReferenceMessage[],
    reason: string,
    delayMs: number | undefined,
    nowMs: number,
  ): void {
    for (const message of messages) {
      message.attempts += 1;
      const waitMs = delayMs ?? this.#backoffMs(message.attempts);
      message.retryAtMs = waitMs === 0 ? 0 : nowMs + waitMs;
      if (message.attempts >= this.#policy.maxAttempts) this.#deadLetter(message, reason);
    }
  }

  #deadLetter(message: ReferenceMessage, reason: string): void {
    const { partition, offset, attempts } = message;
    message.state = 'deadLettering';
    message.deadLetterAttempts = attempts;
    this.deadLetterRequests.push({ partition, offset, attempts, reason });
  }

  /** Pending again, and with each everything that must not go before it. */
  #returned(messages: readonly ReferenceMessage[]): void {
    for (const message of messages) {
      message.state = 'pending';
      for (const other of this.partitions[message.partition]!) {
        const isBehind = other.offset > message.offset && this.#isOrdered(message, other);
        if (isBehind && other.state === 'held') other.state = 'pending';
      }
    }
  }

  #backoffMs(attempts: number): number {
    const { minBackoffMs, maxBackoffMs } = this.#policy;
    return Math.min(maxBackoffMs, minBackoffMs * 2 ** (attempts - 1)) * (1 - this.#chance / 2);
  }
}

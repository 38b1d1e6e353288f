import type { CursorState } from '../../../../src/base/positions.js';
import { transitMs } from '../../../../src/core/deliveries-in-transit.js';
import { leaseLapsed, nackedReason, streamEnded } from '../../../../src/core/failures.js';
import { silenceMs } from '../../../../src/core/silences.js';
import type {
  DeadLetterRequest,
  DeliveryPolicy,
  MessageState,
  Outcome,
  PartitionInterval,
  SessionEnd,
  Settlement,
  SettleResult,
} from '../../../../src/core/types.js';

/** What the reference knows of one message. Slow and plain on purpose: its rules can be read off delivery.md. */
export interface ReferenceMessage {
  readonly partition: number;
  readonly offset: number;
  readonly bytes: number;
  /** 0: no key. */
  readonly key: number;
  /** For another subscription only. */
  readonly isTargetedElsewhere: boolean;
  state: 'pending' | 'held' | 'deadLettering' | 'settled';
  attempts: number;
  retryAtMs: number;
  /** While the message is being dead-lettered, also when a seek has passed it by. */
  deadLetterAttempts: number;
  holder: string;
  deliveryId: number;
  deadlineMs: number;
  isSent: boolean;
  /** A note says that it was dead-lettered. A seek removes it. */
  hasNote: boolean;
  /** A stream broke while this one and others were at work. */
  isInOneBreak: boolean;
  /** That has happened twice. */
  isSuspect: boolean;
}

/** What the reference knows of a session. */
export interface ReferenceSession {
  isPaused: boolean;
  hasSettled: boolean;
  /** A lease of it has lapsed, and it has said nothing since. */
  isSilent: boolean;
  silentUntilMs: number;
  silenceCount: number;
  /** Its transport takes nothing, and other sessions get its messages. */
  isStuck: boolean;
  /** Its transport has taken something since. */
  hasMoved: boolean;
}

/** A delivery that has not left for the transport. */
interface Unsent {
  readonly sessionId: string;
  readonly leasedAtMs: number;
  isTakenBack: boolean;
}

/** The state of a subscription over an array of messages for each partition: every question is a loop. */
/** Why a message must not pass another one that it is ordered with; undefined when it may. */
function orderObjection(
  message: ReferenceMessage,
  other: ReferenceMessage,
  sessionId: string,
): string | undefined {
  if (other.state === 'held' && other.holder !== sessionId) return `${other.holder} is at ${other.offset}`;
  if (other.state === 'pending' && other.offset < message.offset) return `${other.offset} comes first`;
  if (other.state === 'held' && other.offset > message.offset) return `${other.offset} is already out`;
  return undefined;
}

export class Reference {
  readonly partitions: ReferenceMessage[][] = [];
  readonly deadLetterCounts: number[] = [];
  seekCount = 0;
  deadLetterRequests: DeadLetterRequest[] = [];
  readonly sessions = new Map<string, ReferenceSession>();
  readonly #unsent = new Map<number, Unsent>();
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
      isInOneBreak: false,
      isSuspect: false,
      hasNote: false,
    };
    messages.push(message);
    this.#all.push(message);
  }

  open(sessionId: string, isPaused: boolean): void {
    this.sessions.set(sessionId, {
      isPaused,
      hasSettled: false,
      isSilent: false,
      silentUntilMs: 0,
      silenceCount: 0,
      isStuck: false,
      hasMoved: false,
    });
  }

  setCredit(sessionId: string, isPaused: boolean): void {
    const session = this.sessions.get(sessionId)!;
    session.isPaused = isPaused;
    this.#heard(session);
  }

  #heard(session: ReferenceSession): void {
    if (session.isStuck) return;
    session.isSilent = false;
    session.silenceCount = 0;
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
    this.#unsent.set(deliveryId, { sessionId, leasedAtMs: nowMs, isTakenBack: false });
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
    for (const message of this.all()) {
      if (message.state !== 'held' || message.deliveryId !== deliveryId) continue;
      message.isSent = true;
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
    this.#heard(session);
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
    if (settledCount > 0) session.hasSettled = true;
    return { settledCount, stale: intervalsOf(stale) };
  }

  expire(nowMs: number): void {
    for (const session of this.sessions.values()) {
      if (session.silentUntilMs <= nowMs && !session.isStuck) session.isSilent = false;
      if (!session.hasMoved) continue;
      session.hasMoved = false;
      session.isStuck = false;
      this.#heard(session);
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
    const due = [...this.#unsent.values()].filter(
      (unsent) => !unsent.isTakenBack && unsent.leasedAtMs + transitMs(this.#policy) <= nowMs,
    );
    const stuck = new Set<string>();
    for (const unsent of due) {
      const canOthersTake = [...this.sessions].some(
        ([id, { isSilent, isPaused }]) => id !== unsent.sessionId && !isSilent && !isPaused,
      );
      if (!canOthersTake) continue;
      unsent.isTakenBack = true;
      stuck.add(unsent.sessionId);
      const session = this.sessions.get(unsent.sessionId)!;
      session.isSilent = true;
      session.isStuck = true;
    }
    for (const id of stuck) this.#returned(this.heldBy(id).filter(({ isSent }) => !isSent));
  }

  close(sessionId: string, end: SessionEnd, nowMs: number): void {
    const { hasSettled } = this.sessions.get(sessionId)!;
    this.sessions.delete(sessionId);
    for (const [id, unsent] of this.#unsent) if (unsent.sessionId === sessionId) this.#unsent.delete(id);
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
    for (const message of this.all()) {
      message.retryAtMs = 0;
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

/** It is settled already, as this outcome would have it, or is being dead-lettered, which this outcome agrees with. */
function hasSameOutcome({ state, hasNote }: ReferenceMessage, { kind }: Outcome): boolean {
  if (state === 'deadLettering') return kind === 'nack' || kind === 'deadLetter';
  return state === 'settled' && kind !== 'extend' && (kind === 'ack') !== hasNote;
}

/** Merged, in order, each offset once. */
export function intervalsOf(messages: readonly ReferenceMessage[]): PartitionInterval[] {
  const intervals: (PartitionInterval & { last: number })[] = [];
  const ordered = [...new Set(messages)].sort((a, b) => a.partition - b.partition || a.offset - b.offset);
  for (const { partition, offset } of ordered) {
    const previous = intervals.at(-1);
    if (previous?.partition === partition && previous.last === offset - 1) previous.last = offset;
    else intervals.push({ partition, first: offset, last: offset });
  }
  return intervals;
}

import { DeadlineHeap } from '../base/deadline-heap.js';
import { invariant, unreachable } from '../base/invariant.js';
import type { CursorState, Interval } from '../base/positions.js';
import type { Random } from '../base/random.js';
import { sessionNotFound } from '../base/shared-errors.js';
import { joinedAcks } from './ack-order.js';
import { Assignment } from './assignment.js';
import { DeliveriesInTransit } from './deliveries-in-transit.js';
import { takeDue } from './due-leases.js';
import { type Blame, streamEnded } from './failures.js';
import { mergedIntervals } from './intervals.js';
import type { Lane, LaneContext } from './lane.js';
import type { Lease } from './leases.js';
import { Outbox } from './outbox.js';
import { Pool } from './pool.js';
import { Session } from './session.js';
import { checkSettlements, unknownPartition } from './settlement-check.js';
import type { Sharing } from './sharing.js';
import { Silences } from './silences.js';
import type {
  Credit,
  Delivery,
  DeliveryPolicy,
  Effects,
  Fetch,
  MessageState,
  PartitionInterval,
  PartitionStatus,
  ReadRun,
  SessionEnd,
  SessionStatus,
  SettledBefore,
  Settlement,
  SettleResult,
  SubscriptionState,
  Wait,
} from './types.js';
import { type NearnessCause, nearness, type WaitCause, waits } from './wait-causes.js';

/** The state of one subscription, without partitions or sessions yet. `random` is used for backoff only. */
export function createSubscriptionState(policy: DeliveryPolicy, random: Random): SubscriptionState {
  return new SubscriptionStateMachine(policy, random);
}

class SubscriptionStateMachine implements SubscriptionState {
  readonly #context: LaneContext;
  readonly #sharing: Sharing;
  readonly #lanes = new Map<number, Lane>();
  readonly #sessions = new Map<string, Session>();
  readonly #inTransit = new DeliveriesInTransit();
  #lastDeliveryId = 0;
  readonly #silences = new Silences();

  constructor(policy: DeliveryPolicy, random: Random) {
    this.#context = {
      policy,
      random,
      outbox: new Outbox(),
      deadlines: new DeadlineHeap<Lease>(),
      retries: new DeadlineHeap<Lane>(),
    };
    this.#sharing = createSharing(this.#context);
  }

  setPolicy(policy: DeliveryPolicy): void {
    invariant(policy.ordering === this.#context.policy.ordering, "a subscription's ordering can't change");
    this.#context.policy = policy;
    this.#inTransit.lookAgain();
  }

  // --- Partitions -------------------------------------------------------------------------------------------

  addPartition(partition: number, cursor: CursorState, endOffset: number): void {
    invariant(!this.#lanes.has(partition), `partition ${partition} is there already`);
    const lane = this.#sharing.addLane(partition, cursor, endOffset);
    this.#lanes.set(partition, lane);
    lane.recover();
  }

  setEnd(partition: number, endOffset: number): void {
    this.#lane(partition).grow(endOffset);
  }

  setFirst(partition: number, firstOffset: number): void {
    this.#lane(partition).dropBelow(firstOffset);
    this.#sharing.leasesEnded();
    this.#inTransit.lookAgain();
  }

  cursor(partition: number): CursorState {
    return this.#lane(partition).cursor;
  }

  seek(partition: number, offset: number, _nowMs: number): readonly Interval[] {
    const anew = this.#lane(partition).seek(offset);
    this.#sharing.leasesEnded();
    this.#inTransit.lookAgain();
    return anew;
  }

  // --- Sessions ---------------------------------------------------------------------------------------------

  openSession(sessionId: string, credit: Credit, _nowMs: number): void {
    invariant(!this.#sessions.has(sessionId), `session ${sessionId} is open already`);
    const session = new Session(sessionId, credit);
    this.#sessions.set(sessionId, session);
    this.#context.outbox.ready(session);
    this.#sharing.addSession(session);
    this.#inTransit.canTakeMore(session);
  }

  closeSession(sessionId: string, end: SessionEnd, nowMs: number): void {
    const session = this.#sessions.get(sessionId);
    if (session === undefined) return;
    this.#sessions.delete(sessionId);
    this.#silences.end(session);
    this.#inTransit.forget(session);
    const blame = this.#blame(session, end);
    for (const lane of this.#lanes.values()) lane.release(session, blame, nowMs);
    this.#sharing.removeSession(session);
    this.#context.outbox.forget(session);
  }

  setCredit(sessionId: string, credit: Credit): void {
    const session = this.#session(sessionId);
    session.credit = credit;
    this.#heard(session);
    this.#inTransit.canTakeMore(session);
    this.#context.outbox.ready(session);
    if (this.#silences.count > 0) this.#sharing.silenceChanged();
  }

  // --- Delivery ---------------------------------------------------------------------------------------------

  nextFetch(sessionId: string, nowMs: number): Fetch | Wait {
    const session = this.#session(sessionId);
    this.#sharing.asked(session);
    const answer = this.#nextFetch(session, nowMs);
    if (typeof answer !== 'string') return answer;
    this.#sharing.waits(session, answer);
    return waits[answer];
  }

  decline(sessionId: string): void {
    const session = this.#sessions.get(sessionId);
    if (session !== undefined) this.#sharing.declined(session);
  }

  lease(sessionId: string, fetch: Fetch, runs: readonly ReadRun[], nowMs: number): Delivery | undefined {
    const session = this.#sessions.get(sessionId);
    const lane = this.#lane(fetch.partition);
    if (session === undefined) return undefined;
    const isCurrent = lane.endRead(session, fetch) && this.#sharing.mayServe(session, nowMs);
    const deliveryId = this.#lastDeliveryId + 1;
    const delivery = isCurrent ? lane.lease(session, fetch.offset, runs, deliveryId, nowMs) : undefined;
    this.#sharing.readEnded(lane);
    if (delivery === undefined) return undefined;
    this.#lastDeliveryId = deliveryId;
    this.#inTransit.add(delivery.record, this.#context.policy);
    return { deliveryId, runs: delivery.runs };
  }

  abandon(sessionId: string, fetch: Fetch): void {
    const session = this.#sessions.get(sessionId);
    if (session === undefined) return;
    const lane = this.#lane(fetch.partition);
    lane.endRead(session, fetch);
    this.#sharing.readEnded(lane);
  }

  sent(deliveryId: number, nowMs: number): void {
    const record = this.#inTransit.left(deliveryId, nowMs);
    if (record !== undefined) this.#lane(record.partition).sent(record, nowMs);
  }

  // --- Settling ---------------------------------------------------------------------------------------------

  settle(
    sessionId: string,
    settlements: readonly Settlement[],
    nowMs: number,
    lastDeliveryId = Number.POSITIVE_INFINITY,
  ): SettleResult {
    const session = this.#session(sessionId);
    checkSettlements(settlements, (partition) => this.#lanes.has(partition));
    this.#heard(session);
    const stale: PartitionInterval[] = [];
    const settledBefore: SettledBefore[] = [];
    let settledCount = 0;
    for (const { partition, first, last, outcome } of joinedAcks(settlements)) {
      const lane = this.#lane(partition);
      const held = lane.settle({ session, lastDeliveryId }, first, last, outcome, nowMs);
      if (outcome.kind !== 'extend') settledCount += offsetCount(held);
      for (const interval of lane.staleOffsets(first, last, held, outcome)) {
        stale.push({ partition, ...interval });
      }
      if (outcome.kind === 'ack' && !lane.hasDeadLetters) continue;
      const before = lane.settledOffsets(first, last, held);
      addSettled(partition, before, lane.hasDeadLetters ? outcome.kind : 'extend', stale, settledBefore);
    }
    if (settledCount > 0) {
      session.hasSettled = true;
      this.#inTransit.canTakeMore(session);
    }
    this.#sharing.leasesEnded();
    const result = { settledCount, stale: mergedIntervals(stale) };
    return settledBefore.length === 0 ? result : { ...result, settledBefore };
  }

  deadLettered(partition: number, offset: number): void {
    this.#lane(partition).deadLettered(offset);
  }

  deadLetterFailed(partition: number, offset: number, nowMs: number): void {
    this.#lane(partition).deadLetterFailed(offset, nowMs);
    this.#sharing.leasesEnded();
    this.#inTransit.lookAgain();
  }

  // --- Time -------------------------------------------------------------------------------------------------

  get wakeAtMs(): number {
    const { deadlines, retries } = this.#context;
    return Math.min(
      deadlines.nextAtMs,
      retries.nextAtMs,
      this.#silences.nextEndMs,
      this.#inTransit.nextLookMs,
    );
  }

  wake(nowMs: number): void {
    const { retries, policy } = this.#context;
    for (let released = this.#silences.endDue(nowMs); released; released = this.#silences.endDue(nowMs)) {
      this.#silenceEnded(released);
    }
    for (const session of this.#inTransit.takeMoved()) {
      if (this.#silences.end(session)) this.#silenceEnded(session);
    }
    const due = takeDue(this.#context.deadlines, nowMs);
    for (const bySession of due.values()) {
      for (const session of bySession.keys()) {
        if (this.#silences.begin(session, policy, nowMs)) this.#sharing.silenced(session);
      }
    }
    for (const [partition, bySession] of due) {
      for (const [session, leases] of bySession) this.#lane(partition).expire(session, leases, nowMs);
    }
    this.#takeBackUnsent(nowMs);
    for (let lane = retries.popDue(nowMs); lane !== undefined; lane = retries.popDue(nowMs)) {
      lane.retry(nowMs);
    }
    this.#sharing.leasesEnded();
  }

  // --- Looking inside ---------------------------------------------------------------------------------------

  takeEffects(): Effects {
    return this.#context.outbox.take();
  }

  status(partition: number, offset: number): MessageState {
    return this.#lane(partition).messageState(offset);
  }

  partitionStatus(partition: number): PartitionStatus {
    return this.#lane(partition).status;
  }

  sessionStatus(sessionId: string): SessionStatus | undefined {
    const session = this.#sessions.get(sessionId);
    if (session === undefined) return undefined;
    return {
      credit: session.credit,
      outstandingMessageCount: session.outstandingMessages,
      outstandingBytes: session.outstandingBytes,
      partitions: this.#sharing.partitionsOf(session),
    };
  }

  get sessionIds(): readonly string[] {
    return [...this.#sessions.keys()];
  }

  /**
   * What the end of a session is charged to. A consumer that cancels its call on a live connection before it has
   * settled anything has not worked: closing early is no failure.
   */
  #blame(session: Session, end: SessionEnd): Blame {
    const hasFailed = end === 'broke' || (end === 'cancelled' && session.hasSettled);
    if (!hasFailed || session.outstandingMessages === 0) return { kind: 'nothing' };
    let atWorkCount = 0;
    for (const lane of this.#lanes.values()) atWorkCount += lane.atWork(session, true).offsetCount;
    return atWorkCount > 1 ? { kind: 'suspects' } : { kind: 'messageAtWork', failure: streamEnded[end] };
  }

  /** Sessions of which no delivery has left for long lose what has not left, and are the last choice. */
  #takeBackUnsent(nowMs: number): void {
    const { policy } = this.#context;
    for (const session of this.#inTransit.look(policy, this.#sessions.values(), nowMs)) {
      this.#silences.hold(session);
      this.#sharing.silenced(session);
      for (const lane of this.#lanes.values()) lane.takeBackUnsent(session, nowMs);
    }
  }

  /** The consumer of this session has sent something. If its transport is stuck, it can't take anything all the same. */
  #heard(session: Session): void {
    if (!session.isStuck && this.#silences.end(session)) this.#silenceEnded(session);
  }

  #silenceEnded(session: Session): void {
    this.#inTransit.canTakeMore(session);
    this.#context.outbox.ready(session);
    this.#sharing.silenceChanged();
  }

  #nextFetch(session: Session, nowMs: number): Fetch | WaitCause {
    const lanes = this.#sharing.lanesOf(session);
    const { lackOfCredit } = session;
    const mayServe = this.#sharing.mayServe(session, nowMs);
    let reason: NearnessCause = lanes.length === 0 ? 'notAssigned' : 'caughtUp';
    for (let i = 0; i < lanes.length; i += 1) {
      const turn = (session.nextLane + i) % lanes.length;
      const lane = lanes[turn]!;
      const offer = lane.offer(session, nowMs);
      let laneReason: NearnessCause;
      if (typeof offer !== 'number') laneReason = offer;
      else if (lackOfCredit !== undefined) return lackOfCredit;
      else if (!mayServe) laneReason = 'heldBack';
      else if (lane.isReading) laneReason = 'reading';
      else {
        session.nextLane = turn + 1;
        return lane.beginRead(session, offer);
      }
      if (nearness[laneReason] > nearness[reason]) reason = laneReason;
    }
    return reason;
  }

  #lane(partition: number): Lane {
    const lane = this.#lanes.get(partition);
    if (lane !== undefined) return lane;
    throw unknownPartition(partition);
  }

  #session(sessionId: string): Session {
    const session = this.#sessions.get(sessionId);
    if (session !== undefined) return session;
    throw sessionNotFound(sessionId);
  }
}

function createSharing(context: LaneContext): Sharing {
  switch (context.policy.ordering) {
    case 'partition':
      return new Assignment(context);
    case 'key':
    case 'none':
      return new Pool(context);
    default:
      return unreachable(context.policy.ordering);
  }
}

function offsetCount(intervals: readonly Interval[]): number {
  let count = 0;
  for (const { first, last } of intervals) count += last - first + 1;
  return count;
}

/** Only a settlement that may contradict an earlier one has to be compared with the notes of dead letters. */
function addSettled(
  partition: number,
  intervals: readonly Interval[],
  kind: Settlement['outcome']['kind'],
  stale: PartitionInterval[],
  settledBefore: SettledBefore[],
): void {
  for (const interval of intervals) {
    if (kind === 'extend') stale.push({ partition, ...interval });
    else settledBefore.push({ partition, ...interval, outcome: kind });
  }
}

import type { CursorState } from '../base/positions.js';
import type { LaneContext } from './lane.js';
import { PartitionLane } from './partition-lane.js';
import type { Session } from './session.js';
import type { Sharing } from './sharing.js';

/**
 * Assigns partitions to sessions (ordering PARTITION): evenly, so that the numbers of two sessions differ by at
 * most one, and with as few moves as possible. A lane with outstanding messages moves once it is empty; until then
 * its owner gets no new messages from it.
 */
export class Assignment implements Sharing {
  readonly #context: LaneContext;
  /** By partition. */
  readonly #lanes: PartitionLane[] = [];
  /** Every session with its lanes, ordered by partition. */
  readonly #lanesOf = new Map<Session, PartitionLane[]>();
  readonly #moving = new Set<PartitionLane>();
  readonly #silent = new Set<Session>();

  constructor(context: LaneContext) {
    this.#context = context;
  }

  lanesOf(session: Session): readonly PartitionLane[] {
    return this.#lanesOf.get(session) ?? [];
  }

  partitionsOf(session: Session): readonly number[] {
    return this.lanesOf(session).map(({ partition }) => partition);
  }

  addLane(partition: number, cursor: CursorState, endOffset: number): PartitionLane {
    const lane = new PartitionLane(this.#context, partition, cursor, endOffset);
    insertByPartition(this.#lanes, lane);
    this.#balance();
    return lane;
  }

  addSession(session: Session): void {
    this.#lanesOf.set(session, []);
    this.#context.outbox.assigned(session, []);
    this.#balance();
  }

  /** The session must not hold any message. */
  removeSession(session: Session): void {
    const lanes = this.lanesOf(session);
    this.#lanesOf.delete(session);
    this.#silent.delete(session);
    for (const lane of lanes) {
      this.#moving.delete(lane);
      lane.setNextOwner(undefined);
      lane.handOver();
    }
    this.#balance();
  }

  // Lanes are not shared: no other session waits for the messages that a session leaves.
  asked(): void {}
  waits(): void {}

  /**
   * A suspect is delivered only to a session that holds nothing else. While a lane's next message is a suspect,
   * its owner gets no new messages.
   */
  mayServe(session: Session, nowMs: number): boolean {
    if (session.outstandingMessages === 0) return true;
    return !this.lanesOf(session).some((lane) => lane.hasSuspectNext(nowMs));
  }

  silenced(session: Session): void {
    this.#silent.add(session);
    this.#balance();
  }

  silenceChanged(): void {
    for (const session of this.#silent) if (!session.isSilent) this.#silent.delete(session);
    this.#balance();
  }

  declined(): void {}

  readEnded(): void {}

  leasesEnded(): void {
    for (const lane of this.#moving) if (lane.isIdle) this.#move(lane);
  }

  /** Gives sessions what they lack of an equal share. */
  #giveEach(sessions: Iterable<Session>, share: number, free: PartitionLane[]): void {
    for (const session of sessions) {
      this.#give(free.splice(0, Math.max(0, share - this.lanesOf(session).length)), session);
    }
  }

  /** Visits only sessions that gain or lose a lane: there may be thousands of others. */
  #balance(): void {
    const sessions = this.#sessionsToServe();
    if (sessions.size === 0) return;
    const share = Math.floor(this.#lanes.length / sessions.size);
    const largerShareCount = this.#lanes.length % sessions.size;
    const larger = new Set<Session>();
    const free = this.#lanes.filter((lane) => lane.owner === undefined);

    for (const session of new Set(this.#lanes.map((lane) => lane.owner))) {
      if (session === undefined) continue;
      const lanes = this.lanesOf(session);
      const isServed = sessions.has(session);
      const isLarger = isServed && lanes.length > share && larger.size < largerShareCount;
      if (isLarger) larger.add(session);
      free.push(...this.#giveUp(lanes, isLarger ? share + 1 : isServed ? share : 0));
    }

    free.sort((a, b) => a.partition - b.partition);
    if (share > 0) this.#giveEach(sessions.keys(), share, free);
    if (larger.size < largerShareCount) this.#giveOneMore(sessions.keys(), largerShareCount, larger, free);
  }

  #giveOneMore(
    sessions: Iterable<Session>,
    largerShareCount: number,
    larger: Set<Session>,
    free: PartitionLane[],
  ): void {
    for (const session of sessions) {
      if (larger.size === largerShareCount) return;
      if (larger.has(session)) continue;
      larger.add(session);
      this.#give(free.splice(0, 1), session);
    }
  }

  /** All sessions. Silent ones count only if no other session could take their lanes; a paused session can't. */
  #sessionsToServe(): SessionSet {
    if (this.#silent.size === 0) return this.#lanesOf;
    const heard = [...this.#lanesOf.keys()].filter((session) => !session.isSilent);
    if (heard.every(({ isPaused }) => isPaused)) return this.#lanesOf;
    return new Set(heard.filter((session) => !session.isPaused || this.lanesOf(session).length > 0));
  }

  /** Keeps at most `quota` lanes of a session, and returns the lanes that it has to give up. */
  #giveUp(lanes: readonly PartitionLane[], quota: number): readonly PartitionLane[] {
    const inOrderOfStaying = lanes.toSorted((a, b) => reluctance(b) - reluctance(a));
    for (const lane of inOrderOfStaying.slice(0, quota)) this.#stay(lane);
    return inOrderOfStaying.slice(quota);
  }

  #stay(lane: PartitionLane): void {
    this.#moving.delete(lane);
    lane.setNextOwner(lane.owner);
  }

  #give(lanes: readonly PartitionLane[], nextOwner: Session): void {
    for (const lane of lanes) {
      lane.setNextOwner(nextOwner);
      if (lane.isIdle) this.#move(lane);
      else this.#moving.add(lane);
    }
  }

  #move(lane: PartitionLane): void {
    const { owner, nextOwner } = lane;
    this.#moving.delete(lane);
    lane.handOver();
    for (const session of [owner, nextOwner]) {
      const lanes = session === undefined ? undefined : this.#lanesOf.get(session);
      if (session === undefined || lanes === undefined) continue;
      if (session === owner) lanes.splice(lanes.indexOf(lane), 1);
      else insertByPartition(lanes, lane);
      this.#context.outbox.assigned(session, this.partitionsOf(session));
    }
  }
}

interface SessionSet {
  readonly size: number;
  has(session: Session): boolean;
  keys(): Iterable<Session>;
}

/** Lanes that can move at once are given up first, then lanes that are already moving. */
function reluctance(lane: PartitionLane): number {
  if (lane.isIdle) return 0;
  return lane.nextOwner === lane.owner ? 2 : 1;
}

function insertByPartition(lanes: PartitionLane[], lane: PartitionLane): void {
  const index = lanes.findIndex(({ partition }) => partition > lane.partition);
  lanes.splice(index === -1 ? lanes.length : index, 0, lane);
}

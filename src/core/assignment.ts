import type { CursorState } from '../base/positions.js';
import type { LaneContext } from './lane.js';
import { PartitionLane } from './partition-lane.js';
import type { Session } from './session.js';
import type { Sharing } from './sharing.js';

/**
 * Which session has which partition (ordering PARTITION): evenly, so that two sessions never differ by more than
 * one, and with as few moves as that takes. A lane in which something is outstanding moves once it is empty;
 * until then its owner gets nothing more from it.
 */
export class Assignment implements Sharing {
  readonly #context: LaneContext;
  /** By partition. */
  readonly #lanes: PartitionLane[] = [];
  /** Every session with the lanes that it has, by partition. */
  readonly #lanesOf = new Map<Session, PartitionLane[]>();
  readonly #moving = new Set<PartitionLane>();

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

  /** The session holds nothing any more. */
  removeSession(session: Session): void {
    const lanes = this.lanesOf(session);
    this.#lanesOf.delete(session);
    for (const lane of lanes) {
      this.#moving.delete(lane);
      lane.bequeath(undefined);
      lane.handOver();
    }
    this.#balance();
  }

  /** Nobody else waits for what a session does not take. */
  answered(): void {}

  readEnded(): void {}

  leasesEnded(): void {
    for (const lane of this.#moving) if (lane.isIdle) this.#move(lane);
  }

  #balance(): void {
    const sessionCount = this.#lanesOf.size;
    if (sessionCount === 0 || this.#isSpreadThin()) return;
    const share = Math.floor(this.#lanes.length / sessionCount);
    let largerShares = this.#lanes.length % sessionCount;
    const free = this.#lanes.filter((lane) => lane.owner === undefined);
    const needy: { readonly session: Session; readonly laneCount: number }[] = [];

    for (const [session, lanes] of this.#lanesOf) {
      const isLarger = lanes.length > share && largerShares > 0;
      if (isLarger) largerShares -= 1;
      else needy.push({ session, laneCount: Math.min(share, lanes.length) });
      free.push(...this.#giveUp(lanes, isLarger ? share + 1 : share));
    }

    free.sort((a, b) => a.partition - b.partition);
    for (const { session, laneCount } of needy) this.#give(free.splice(0, share - laneCount), session);
    for (const { session } of needy.slice(0, largerShares)) this.#give(free.splice(0, 1), session);
  }

  /** More sessions than partitions, and one for each: who comes or goes without one changes nothing. */
  #isSpreadThin(): boolean {
    if (this.#lanesOf.size < this.#lanes.length || this.#moving.size > 0) return false;
    return this.#lanes.every(({ owner }) => owner !== undefined && this.lanesOf(owner).length === 1);
  }

  /** Keeps at most so many of a session's lanes, and says which ones it has to give up. */
  #giveUp(lanes: readonly PartitionLane[], quota: number): readonly PartitionLane[] {
    if (lanes.length === 0) return lanes;
    const inOrderOfStaying = lanes.toSorted((a, b) => reluctance(b) - reluctance(a));
    for (const lane of inOrderOfStaying.slice(0, quota)) this.#stay(lane);
    return inOrderOfStaying.slice(quota);
  }

  #stay(lane: PartitionLane): void {
    this.#moving.delete(lane);
    lane.bequeath(lane.owner);
  }

  #give(lanes: readonly PartitionLane[], heir: Session): void {
    for (const lane of lanes) {
      lane.bequeath(heir);
      if (lane.isIdle) this.#move(lane);
      else this.#moving.add(lane);
    }
  }

  #move(lane: PartitionLane): void {
    const { owner, heir } = lane;
    this.#moving.delete(lane);
    lane.handOver();
    for (const session of [owner, heir]) {
      const lanes = session === undefined ? undefined : this.#lanesOf.get(session);
      if (session === undefined || lanes === undefined) continue;
      if (session === owner) lanes.splice(lanes.indexOf(lane), 1);
      else insertByPartition(lanes, lane);
      this.#context.outbox.assigned(session, this.partitionsOf(session));
    }
  }
}

/** Lanes that can move at once are given up first, then those that are on their way already. */
function reluctance(lane: PartitionLane): number {
  if (lane.isIdle) return 0;
  return lane.heir === lane.owner ? 2 : 1;
}

function insertByPartition(lanes: PartitionLane[], lane: PartitionLane): void {
  const index = lanes.findIndex(({ partition }) => partition > lane.partition);
  lanes.splice(index === -1 ? lanes.length : index, 0, lane);
}

import type { CursorState } from '../base/positions.js';
import { IdleSessions } from './idle-sessions.js';
import type { Lane, LaneContext, LaneWait } from './lane.js';
import type { Session } from './session.js';
import { SharedLane } from './shared-lane.js';
import type { Sharing } from './sharing.js';
import type { Wait } from './types.js';

/** Every session reads every partition (orderings KEY and NONE). */
export class Pool implements Sharing {
  readonly #context: LaneContext;
  readonly #idle: IdleSessions;
  /** By partition. */
  readonly #lanes: SharedLane[] = [];

  constructor(context: LaneContext) {
    this.#context = context;
    this.#idle = new IdleSessions(context.outbox);
  }

  lanesOf(): readonly Lane[] {
    return this.#lanes;
  }

  /** No session has a partition to itself. */
  partitionsOf(): readonly number[] {
    return [];
  }

  addLane(partition: number, cursor: CursorState, endOffset: number): Lane {
    const lane = new SharedLane(this.#context, partition, cursor, endOffset, this.#idle);
    this.#lanes.push(lane);
    this.#lanes.sort((a, b) => a.partition - b.partition);
    lane.announce();
    return lane;
  }

  addSession(): void {}

  removeSession(session: Session): void {
    this.#idle.leave(session);
    // It may have been woken for something that it will never take.
    this.#announceAll();
  }

  asked(session: Session): void {
    this.#idle.leave(session);
  }

  waits(session: Session, reason: Wait['reason'] | LaneWait): void {
    this.#idle.enter(session);
    if (reason === 'othersFirst') this.#idle.wakeOne();
    // It may have been woken for something that it can't take.
    else if (reason === 'messageCredit' || reason === 'byteCredit') this.#announceAll();
  }

  declined(session: Session): void {
    this.#idle.decline(session);
  }

  readEnded(lane: Lane): void {
    lane.announce();
  }

  leasesEnded(): void {}

  #announceAll(): void {
    for (const lane of this.#lanes) lane.announce();
  }
}

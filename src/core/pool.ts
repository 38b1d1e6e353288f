import type { CursorState } from '../base/positions.js';
import { Crowd } from './crowd.js';
import type { Lane, LaneContext } from './lane.js';
import type { Session } from './session.js';
import { SharedLane } from './shared-lane.js';
import type { Sharing } from './sharing.js';
import type { Fetch, Wait } from './types.js';

/** Every session reads every partition (orderings KEY and NONE). */
export class Pool implements Sharing {
  readonly #context: LaneContext;
  readonly #crowd: Crowd;
  /** By partition. */
  readonly #lanes: SharedLane[] = [];

  constructor(context: LaneContext) {
    this.#context = context;
    this.#crowd = new Crowd(context.outbox);
  }

  lanesOf(): readonly Lane[] {
    return this.#lanes;
  }

  /** No session has a partition to itself. */
  partitionsOf(): readonly number[] {
    return [];
  }

  addLane(partition: number, cursor: CursorState, endOffset: number): Lane {
    const lane = new SharedLane(this.#context, partition, cursor, endOffset, this.#crowd);
    this.#lanes.push(lane);
    this.#lanes.sort((a, b) => a.partition - b.partition);
    lane.announce();
    return lane;
  }

  addSession(): void {}

  removeSession(session: Session): void {
    this.#crowd.leave(session);
    // It may have been woken for something that it will never take.
    this.#announceAll();
  }

  answered(session: Session, answer: Fetch | Wait): void {
    if (answer.kind === 'fetch') {
      this.#crowd.leave(session);
      return;
    }
    this.#crowd.enter(session);
    const isOutOfCredit = answer.reason === 'messageCredit' || answer.reason === 'byteCredit';
    if (isOutOfCredit) this.#announceAll();
  }

  readEnded(lane: Lane): void {
    lane.announce();
  }

  leasesEnded(): void {}

  #announceAll(): void {
    for (const lane of this.#lanes) lane.announce();
  }
}

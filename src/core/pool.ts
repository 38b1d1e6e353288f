import type { CursorState } from '../base/positions.js';
import { IdleSessions } from './idle-sessions.js';
import type { Lane, LaneContext } from './lane.js';
import type { Session } from './session.js';
import { SharedLane } from './shared-lane.js';
import type { Sharing } from './sharing.js';
import type { WaitCause } from './wait-causes.js';

/** Every session reads every partition (orderings KEY and NONE). */
export class Pool implements Sharing {
  readonly #context: LaneContext;
  readonly #idle: IdleSessions;
  /** By partition. */
  readonly #lanes: SharedLane[] = [];
  /** This session gets no messages until it holds none: then it can take a suspect. */
  #drained: Session | undefined;

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

  addSession(session: Session): void {
    this.#idle.open(session);
  }

  removeSession(session: Session): void {
    this.#idle.close(session);
    if (this.#drained === session) this.#drained = undefined;
    // It may have been woken for messages that it will never take.
    this.#announceAll();
  }

  asked(session: Session): void {
    this.#idle.leave(session);
    this.#chooseDrained(session);
  }

  mayServe(session: Session): boolean {
    const isDraining = this.#drained === session && session.outstandingMessages > 0;
    return this.#idle.mayServe(session) && !isDraining;
  }

  waits(session: Session, reason: WaitCause): void {
    // A drained session is not woken: it asks again when it has given back its messages.
    if (session !== this.#drained || session.outstandingMessages === 0) this.#idle.enter(session);
    if (reason === 'othersFirst' || reason === 'heldBack') this.#idle.wakeOne();
    // It may have been woken for messages that it can't take.
    else if (reason === 'messageCredit' || reason === 'byteCredit') this.#announceAll();
  }

  silenced(session: Session): void {
    this.#idle.silence(session);
  }

  silenceChanged(): void {
    this.#announceAll();
  }

  /** It may have been woken: another session is woken in its place. */
  declined(session: Session): void {
    this.#idle.leave(session);
    if (this.#idle.availableCount > 0 || this.#hasFreeSuspects) this.#idle.wakeOne();
  }

  readEnded(lane: Lane): void {
    lane.announce();
  }

  leasesEnded(): void {}

  get #hasFreeSuspects(): boolean {
    return this.#lanes.some((lane) => lane.freeSuspectCount > 0);
  }

  /**
   * A suspect goes only to a session that holds nothing else. If every session that asks is busy, one of them is
   * drained: it gets no messages until it holds none.
   */
  #chooseDrained(asking: Session): void {
    if (!this.#hasFreeSuspects) {
      if (this.#drained !== undefined) this.#context.outbox.ready(this.#drained);
      this.#drained = undefined;
      return;
    }
    const canDrain = this.#drained !== undefined && !this.#drained.isSilent && !this.#drained.isPaused;
    if (!canDrain && asking.outstandingMessages > 0) this.#drained = asking;
  }

  #announceAll(): void {
    for (const lane of this.#lanes) lane.announce();
  }
}

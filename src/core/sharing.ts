import type { CursorState } from '../base/positions.js';
import type { Lane } from './lane.js';
import type { Session } from './session.js';
import type { WaitCause } from './wait-causes.js';

/** How the sessions of a subscription share its partitions: the part of an ordering that concerns all lanes. */
export interface Sharing {
  addLane(partition: number, cursor: CursorState, endOffset: number): Lane;
  addSession(session: Session): void;
  /** The session must not hold any message. */
  removeSession(session: Session): void;
  /** The lanes that the session may read, ordered by partition. */
  lanesOf(session: Session): readonly Lane[];
  /** The partitions that only this session reads. */
  partitionsOf(session: Session): readonly number[];
  /** The session asks for a read. */
  asked(session: Session): void;
  /**
   * Whether the session may get messages now. False if it has to let others go first, or has to be empty first.
   */
  mayServe(session: Session, nowMs: number): boolean;
  /** The session has become silent. */
  silenced(session: Session): void;
  /** A session is no longer silent, or another session was paused or resumed while one is silent. */
  silenceChanged(): void;
  /** The session has to wait. */
  waits(session: Session, reason: WaitCause): void;
  /** The session takes no messages for now, although it may have been called ready. */
  declined(session: Session): void;
  /** The read of a lane has ended: another session may want to read it. */
  readEnded(lane: Lane): void;
  /** Leases may have ended: does what had to wait for that. */
  leasesEnded(): void;
}

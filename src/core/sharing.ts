import type { CursorState } from '../base/positions.js';
import type { Lane, WaitCause } from './lane.js';
import type { Session } from './session.js';

/** How the sessions of a subscription share its partitions: the part of an ordering that spans them. */
export interface Sharing {
  addLane(partition: number, cursor: CursorState, endOffset: number): Lane;
  addSession(session: Session): void;
  /** The session holds nothing any more. */
  removeSession(session: Session): void;
  /** The lanes that the session may read, by partition. */
  lanesOf(session: Session): readonly Lane[];
  /** The partitions that the session has to itself. */
  partitionsOf(session: Session): readonly number[];
  /** The session asks where to read. */
  asked(session: Session): void;
  /** Whether the session may get anything now. One that has to wait for others, or to become empty first, may not. */
  mayServe(session: Session, nowMs: number): boolean;
  /** The session has become silent. */
  silenced(session: Session): void;
  /** A silent session has been heard of again, or while one is silent another session was paused or resumed. */
  silenceChanged(): void;
  /** The session was told to wait. */
  waits(session: Session, reason: WaitCause): void;
  /** The session takes nothing more for now, whatever it was called ready for. */
  declined(session: Session): void;
  /** The read for a lane is no longer under way: another session may want to read there. */
  readEnded(lane: Lane): void;
  /** Leases may have ended: does what had to wait for that. */
  leasesEnded(): void;
}

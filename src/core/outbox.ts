import { mergedIntervals } from './intervals.js';
import type { Session } from './session.js';
import type { DeadLetterRequest, Effects, PartitionInterval } from './types.js';

const nothing: Effects = {
  dirtyPartitions: [],
  deadLetterRequests: [],
  assignments: [],
  revocations: [],
  ready: [],
};

/** Collects effects for the runtime until `take`. */
export class Outbox {
  readonly #dirtyPartitions = new Set<number>();
  readonly #reassigned = new Map<Session, readonly number[]>();
  readonly #ready = new Set<Session>();
  readonly #revoked = new Map<Session, PartitionInterval[]>();
  #deadLetterRequests: DeadLetterRequest[] = [];

  dirty(partition: number): void {
    this.#dirtyPartitions.add(partition);
  }

  deadLetter(request: DeadLetterRequest): void {
    this.#deadLetterRequests.push(request);
  }

  /** A later set of partitions replaces an earlier one. */
  assigned(session: Session, partitions: readonly number[]): void {
    this.#reassigned.set(session, partitions);
  }

  revoked(session: Session, offsets: PartitionInterval): void {
    const others = this.#revoked.get(session);
    if (others === undefined) this.#revoked.set(session, [offsets]);
    else others.push(offsets);
  }

  ready(session: Session): void {
    this.#ready.add(session);
  }

  /** The session has ended: drops its effects. */
  forget(session: Session): void {
    this.#ready.delete(session);
    this.#reassigned.delete(session);
    this.#revoked.delete(session);
  }

  take(): Effects {
    const sets = [this.#dirtyPartitions, this.#reassigned, this.#revoked, this.#ready];
    if (this.#deadLetterRequests.length === 0 && sets.every(({ size }) => size === 0)) return nothing;
    const effects: Effects = {
      dirtyPartitions: [...this.#dirtyPartitions],
      deadLetterRequests: this.#deadLetterRequests,
      assignments: Array.from(this.#reassigned, ([session, partitions]) => ({
        sessionId: session.id,
        partitions,
      })),
      revocations: Array.from(this.#revoked, ([session, offsets]) => ({
        sessionId: session.id,
        offsets: mergedIntervals(offsets),
      })),
      ready: this.#readyIds(),
    };
    this.#dirtyPartitions.clear();
    this.#reassigned.clear();
    this.#revoked.clear();
    this.#ready.clear();
    this.#deadLetterRequests = [];
    return effects;
  }

  /** The session with the fewest outstanding messages goes first: it may take what all of them could. */
  #readyIds(): string[] {
    const sessions = [...this.#ready];
    if (sessions.length > 1) sessions.sort((a, b) => a.outstandingMessages - b.outstandingMessages);
    return sessions.map((session) => session.id);
  }
}

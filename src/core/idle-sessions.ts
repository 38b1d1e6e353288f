import { OffsetMap } from './offset-map.js';
import type { Outbox } from './outbox.js';
import type { Session } from './session.js';

/**
 * Idle sessions that could all take new work. New work wakes only the session with the fewest outstanding
 * messages; it wakes the next one if work is left. So one message for five thousand idle consumers does not cause
 * five thousand calls of `nextFetch`.
 *
 * Work is split: whatever its credit, a session takes only so many messages that every idle session with fewer
 * outstanding messages can reach the same level. A silent session gets messages only if every other session is silent or paused.
 */
export class IdleSessions {
  readonly #outbox: Outbox;
  /** All sessions that are open, idle or not. */
  readonly #sessions = new Set<Session>();
  /** Messages of all partitions that any session may take. */
  availableCount = 0;
  /** Idle sessions with credit, by the number of outstanding messages when they became idle. */
  readonly #byLoad = new OffsetMap<Set<Session>>();
  readonly #loads = new Map<Session, number>();
  /** Idle sessions that were woken, and have not called `nextFetch` since. */
  readonly #woken = new Set<Session>();
  /** Silent sessions that wait. */
  readonly #silent = new Set<Session>();

  constructor(outbox: Outbox) {
    this.#outbox = outbox;
  }

  open(session: Session): void {
    this.#sessions.add(session);
  }

  close(session: Session): void {
    this.#sessions.delete(session);
    this.leave(session);
  }

  /** False for a silent session while there is another session to serve. */
  mayServe(session: Session): boolean {
    if (!session.isSilent) return true;
    for (const other of this.#sessions) if (!other.isSilent && !other.isPaused) return false;
    return true;
  }

  /** The session has become silent. */
  silence(session: Session): void {
    if (this.#loads.has(session)) this.enter(session);
  }

  /** The session has to wait. A session without credit waits for its consumer, and is not idle. */
  enter(session: Session): void {
    this.leave(session);
    if (session.lackOfCredit !== undefined) return;
    if (session.isSilent) {
      this.#silent.add(session);
      return;
    }
    const load = session.outstandingMessages;
    this.#loads.set(session, load);
    const others = this.#byLoad.get(load);
    if (others === undefined) this.#byLoad.set(load, new Set([session]));
    else others.add(session);
  }

  /** The session asks for work, or has ended. */
  leave(session: Session): void {
    this.#woken.delete(session);
    this.#silent.delete(session);
    const load = this.#loads.get(session);
    if (load === undefined) return;
    this.#loads.delete(session);
    const sessions = this.#byLoad.get(load)!;
    sessions.delete(session);
    if (sessions.size === 0) this.#byLoad.delete(load);
  }

  wakeOne(): void {
    const session = this.#leastLoaded() ?? this.#anySilent();
    if (session === undefined) return;
    this.#woken.add(session);
    this.#outbox.ready(session);
  }

  /**
   * How many of the available messages a session that is not idle may take: all sessions with few outstanding
   * messages are filled up to the same level. Infinity if no session is idle.
   */
  shareOf(session: Session): number {
    if (this.#loads.size === 0) return Number.POSITIVE_INFINITY;
    const own = session.outstandingMessages;
    // At least one: if all sessions wait for each other, the least loaded one has to be served.
    let sum = Math.max(1, this.availableCount);
    let count = 0;
    let isCounted = false;
    for (let load = this.#byLoad.nextFrom(0); ; load = this.#byLoad.nextFrom(load + 1)) {
      if (!isCounted && own <= load) {
        if (count > 0 && sum <= own * count) return 0;
        sum += own;
        count += 1;
        isCounted = true;
      }
      if (load === Number.POSITIVE_INFINITY || (count > 0 && sum <= load * count)) break;
      const { size } = this.#byLoad.get(load)!;
      sum += size * load;
      count += size;
    }
    return isCounted ? Math.max(0, Math.ceil(sum / count) - own) : 0;
  }

  /** Among the sessions that were not woken yet. */
  #leastLoaded(): Session | undefined {
    for (let load = this.#byLoad.nextFrom(0); load !== Number.POSITIVE_INFINITY; ) {
      for (const session of this.#byLoad.get(load)!) {
        if (this.#woken.has(session)) continue;
        if (session.lackOfCredit === undefined) return session;
        // Its credit was lowered meanwhile: the session asks again when the credit is raised.
        this.leave(session);
      }
      load = this.#byLoad.nextFrom(load + 1);
    }
    return undefined;
  }

  #anySilent(): Session | undefined {
    for (const session of this.#silent) {
      if (!this.mayServe(session)) return undefined;
      if (!this.#woken.has(session) && session.lackOfCredit === undefined) return session;
    }
    return undefined;
  }
}

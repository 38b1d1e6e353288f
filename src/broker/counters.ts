import type { HoldReason, WaitReason } from './types.js';

/** Total waiting time by reason. */
export class TimeByReason<R extends string> {
  readonly #totalMs = new Map<R, number>();

  add(reason: R, ms: number): void {
    this.#totalMs.set(reason, (this.#totalMs.get(reason) ?? 0) + ms);
  }

  /** The finished waits and those still under way. */
  totals(underWay: Iterable<{ readonly reason: R; readonly forMs: number } | undefined>): Map<R, number> {
    const totals = new Map(this.#totalMs);
    for (const each of underWay) {
      if (each !== undefined) totals.set(each.reason, (totals.get(each.reason) ?? 0) + each.forMs);
    }
    return totals;
  }
}

/** Counts since the broker started. They never decrease. */
export class Counters {
  publishedMessages = 0;
  publishedBytes = 0;
  duplicateMessages = 0;
  refusedBatches = 0;
  deliveredMessages = 0;
  deliveredBytes = 0;
  settledMessages = 0;
  deadLetteredMessages = 0;
  readonly held = new TimeByReason<HoldReason>();
  readonly waited = new TimeByReason<WaitReason>();
}

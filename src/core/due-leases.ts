import type { DeadlineHeap } from '../base/deadline-heap.js';
import type { Lease } from './leases.js';
import type { Session } from './session.js';

/**
 * The leases that are due, by partition and session. Leases of one session in one partition that lapse together are
 * one event: only the first message can have failed.
 */
export function takeDue(deadlines: DeadlineHeap<Lease>, nowMs: number): Map<number, Map<Session, Lease[]>> {
  const due = new Map<number, Map<Session, Lease[]>>();
  for (let lease = deadlines.popDue(nowMs); lease !== undefined; lease = deadlines.popDue(nowMs)) {
    const { partition, session } = lease.delivery;
    const bySession = due.get(partition) ?? new Map<Session, Lease[]>();
    due.set(partition, bySession);
    const leases = bySession.get(session);
    if (leases === undefined) bySession.set(session, [lease]);
    else leases.push(lease);
  }
  return due;
}

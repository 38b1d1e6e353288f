import assert from 'node:assert/strict';
import fc from 'fast-check';
import { DeadlineHeap } from '../../../src/base/deadline-heap.js';
import { type DeliveryRecord, Lease, LeaseTable } from '../../../src/core/leases.js';
import { Outbox } from '../../../src/core/outbox.js';
import { Session } from '../../../src/core/session.js';
import { messageBytes, plenty, runOf } from './harness.js';

const end = 50;
const index = runOf(0, end);

const command = fc.record({
  kind: fc.constantFrom('lease', 'lease', 'lease', 'end', 'extend', 'start', 'due'),
  first: fc.nat(end - 1),
  length: fc.integer({ min: 1, max: 10 }),
  session: fc.nat(2),
  atMs: fc.nat(100),
});

describe('LeaseTable', () => {
  it('knows who holds what until when, and returns credit exactly once', () => {
    fc.assert(
      fc.property(fc.array(command, { maxLength: 60 }), (commands) => {
        const sessions = ['a', 'b', 'c'].map((id) => new Session(id, plenty));
        const deadlines = new DeadlineHeap<Lease>();
        const table = new LeaseTable(deadlines, new Outbox());
        const holders = new Map<number, { session: Session; delivery: DeliveryRecord; deadlineMs: number }>();
        const deliveries: DeliveryRecord[] = [];

        for (const { kind, first, length, session: sessionIndex, atMs } of commands) {
          const session = sessions[sessionIndex]!;
          const last = Math.min(end, first + length) - 1;
          const offsets = Array.from({ length: last - first + 1 }, (_, i) => first + i);
          const mine = offsets.filter((offset) => holders.get(offset)?.session === session);

          if (kind === 'lease' && !offsets.some((offset) => holders.has(offset))) {
            const delivery = { id: deliveries.length, session, partition: 0, first, last, isSent: false };
            deliveries.push(delivery);
            table.add(new Lease(delivery, index, first, last, Number.POSITIVE_INFINITY));
            for (const offset of offsets)
              holders.set(offset, { session, delivery, deadlineMs: Number.POSITIVE_INFINITY });
          } else if (kind === 'end') {
            assert.deepEqual(offsetsOf(table.end(first, last, { session: session })), mine);
            for (const offset of mine) holders.delete(offset);
          } else if (kind === 'extend') {
            assert.deepEqual(offsetsOf(table.extend(first, last, { session }, atMs)), mine);
            for (const offset of mine) holders.get(offset)!.deadlineMs = atMs;
          } else if (kind === 'start' && deliveries.length > 0) {
            const delivery = deliveries[first % deliveries.length]!;
            table.start(delivery, atMs);
            for (const held of holders.values()) {
              if (held.delivery === delivery && held.deadlineMs === Number.POSITIVE_INFINITY)
                held.deadlineMs = atMs;
            }
          } else if (kind === 'due') {
            const leases: Lease[] = [];
            for (let lease = deadlines.popDue(atMs); lease; lease = deadlines.popDue(atMs))
              leases.push(lease);
            const due = [...holders.keys()].filter((offset) => holders.get(offset)!.deadlineMs <= atMs);
            assert.deepEqual(
              offsetsOf(table.revokeAll(leases)),
              due.sort((a, b) => a - b),
            );
            for (const offset of due) holders.delete(offset);
          }

          assert.equal(table.messageCount, holders.size);
          for (const each of sessions) {
            const count = [...holders.values()].filter(({ session: holder }) => holder === each).length;
            assert.equal(each.outstandingMessages, count);
            assert.equal(each.outstandingBytes, count * messageBytes);
          }
          for (let offset = 0; offset < end; offset += 1) {
            assert.equal(table.at(offset)?.delivery, holders.get(offset)?.delivery, `holder of ${offset}`);
            assert.equal(
              table.at(offset)?.deadlineMs,
              holders.get(offset)?.deadlineMs,
              `deadline of ${offset}`,
            );
          }
          const soonest = Math.min(...Array.from(holders.values(), ({ deadlineMs }) => deadlineMs));
          assert.equal(deadlines.nextAtMs, soonest);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('refuses to lease a message twice', () => {
    const table = new LeaseTable(new DeadlineHeap(), new Outbox());
    const session = new Session('a', plenty);
    const delivery = { id: 1, session, partition: 0, first: 0, last: 9, isSent: false };
    table.add(new Lease(delivery, index, 0, 9, Number.POSITIVE_INFINITY));
    assert.throws(() => table.add(new Lease(delivery, index, 5, 5, Number.POSITIVE_INFINITY)), /twice/);
  });

  it('settles a hundred thousand leases of one message each, in order and against it', () => {
    const count = 100_000;
    const session = new Session('a', plenty);
    for (const isForwards of [true, false]) {
      const deadlines = new DeadlineHeap<Lease>();
      const table = new LeaseTable(deadlines, new Outbox());
      const wide = runOf(0, count);
      for (let offset = 0; offset < count; offset += 1) {
        const delivery = { id: offset, session, partition: 0, first: offset, last: offset, isSent: true };
        table.add(new Lease(delivery, wide, offset, offset, offset));
      }
      for (let i = 0; i < count; i += 1) {
        const offset = isForwards ? i : count - 1 - i;
        assert.equal(table.end(offset, offset, { session: session }).length, 1);
      }
      assert.equal(table.messageCount, 0);
      assert.equal(deadlines.size, 0);
      assert.equal(session.outstandingBytes, 0);
    }
  }).timeout(5_000);
});

function offsetsOf(intervals: readonly { first: number; last: number }[]): number[] {
  return intervals.flatMap(({ first, last }) =>
    Array.from({ length: last - first + 1 }, (_, i) => first + i),
  );
}

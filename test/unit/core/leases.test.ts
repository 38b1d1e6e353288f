import assert from 'node:assert/strict';
import fc from 'fast-check';
import { DeadlineHeap } from '../../../src/base/deadline-heap.js';
import { type DeliveryRecord, Lease, LeaseTable } from '../../../src/core/leases.js';
import { Outbox } from '../../../src/core/outbox.js';
import { Session } from '../../../src/core/session.js';
import { messageBytes, plenty, runOf } from './harness.js';

const end = 50;
const index = runOf(0, end);

const fresh = { leasedAtMs: 0, takeBackCount: 0, isTakenBack: false };

const command = fc.record({
  kind: fc.constantFrom('lease', 'lease', 'lease', 'end', 'extend', 'start', 'due'),
  first: fc.nat(end - 1),
  length: fc.integer({ min: 1, max: 10 }),
  session: fc.nat(2),
  atMs: fc.nat(100),
});

type Command = typeof command extends fc.Arbitrary<infer T> ? T : never;

interface Held {
  readonly session: Session;
  readonly delivery: DeliveryRecord;
  deadlineMs: number;
}

/** A lease table, and beside it a plain map from each offset to its lease. */
class Subject {
  readonly #sessions = ['a', 'b', 'c'].map((id) => new Session(id, plenty));
  readonly #deadlines = new DeadlineHeap<Lease>();
  readonly #table = new LeaseTable(this.#deadlines, new Outbox());
  readonly #held = new Map<number, Held>();
  readonly #deliveries: DeliveryRecord[] = [];

  run({ kind, first, length, session: sessionIndex, atMs }: Command): void {
    const session = this.#sessions[sessionIndex]!;
    const last = Math.min(end, first + length) - 1;
    const offsets = Array.from({ length: last - first + 1 }, (_, i) => first + i);
    const mine = offsets.filter((offset) => this.#held.get(offset)?.session === session);
    if (kind === 'lease') this.#lease(session, offsets);
    else if (kind === 'start') this.#start(first, atMs);
    else if (kind === 'due') this.#expire(atMs);
    else if (kind === 'end') {
      assert.deepEqual(offsetsOf(this.#table.end(first, last, { session })), mine);
      for (const offset of mine) this.#held.delete(offset);
    } else {
      assert.deepEqual(offsetsOf(this.#table.extend(first, last, { session }, atMs)), mine);
      for (const offset of mine) this.#held.get(offset)!.deadlineMs = atMs;
    }
  }

  #lease(session: Session, offsets: readonly number[]): void {
    if (offsets.some((offset) => this.#held.has(offset))) return;
    const first = offsets[0]!;
    const last = offsets.at(-1)!;
    const delivery = {
      id: this.#deliveries.length,
      session,
      partition: 0,
      first,
      last,
      isSent: false,
      ...fresh,
    };
    this.#deliveries.push(delivery);
    const deadlineMs = Number.POSITIVE_INFINITY;
    this.#table.add(new Lease(delivery, index, first, last, deadlineMs));
    for (const offset of offsets) this.#held.set(offset, { session, delivery, deadlineMs });
  }

  #start(first: number, atMs: number): void {
    if (this.#deliveries.length === 0) return;
    const delivery = this.#deliveries[first % this.#deliveries.length]!;
    this.#table.start(delivery, atMs);
    for (const held of this.#held.values()) {
      if (held.delivery === delivery && held.deadlineMs === Number.POSITIVE_INFINITY) held.deadlineMs = atMs;
    }
  }

  #expire(atMs: number): void {
    const leases: Lease[] = [];
    for (let lease = this.#deadlines.popDue(atMs); lease; lease = this.#deadlines.popDue(atMs)) {
      leases.push(lease);
    }
    const due = [...this.#held.keys()].filter((offset) => this.#held.get(offset)!.deadlineMs <= atMs);
    assert.deepEqual(
      offsetsOf(this.#table.revokeAll(leases)),
      due.sort((a, b) => a - b),
    );
    for (const offset of due) this.#held.delete(offset);
  }

  check(): void {
    assert.equal(this.#table.messageCount, this.#held.size);
    for (const each of this.#sessions) {
      const count = [...this.#held.values()].filter(({ session }) => session === each).length;
      assert.equal(each.outstandingMessages, count);
      assert.equal(each.outstandingBytes, count * messageBytes);
    }
    for (let offset = 0; offset < end; offset += 1) {
      const lease = this.#table.at(offset);
      const held = this.#held.get(offset);
      assert.equal(lease?.delivery, held?.delivery, `holder of ${offset}`);
      assert.equal(lease?.deadlineMs, held?.deadlineMs, `deadline of ${offset}`);
    }
    const soonest = Math.min(...Array.from(this.#held.values(), ({ deadlineMs }) => deadlineMs));
    assert.equal(this.#deadlines.nextAtMs, soonest);
  }
}

describe('LeaseTable', () => {
  it('knows who holds what until when, and returns credit exactly once', () => {
    fc.assert(
      fc.property(fc.array(command, { maxLength: 60 }), (commands) => {
        const subject = new Subject();
        for (const each of commands) {
          subject.run(each);
          subject.check();
        }
      }),
      { numRuns: 300 },
    );
  });

  it('refuses to lease a message twice', () => {
    const table = new LeaseTable(new DeadlineHeap(), new Outbox());
    const session = new Session('a', plenty);
    const delivery = { id: 1, session, partition: 0, first: 0, last: 9, isSent: false, ...fresh };
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
        const delivery = {
          id: offset,
          session,
          partition: 0,
          first: offset,
          last: offset,
          isSent: true,
          ...fresh,
        };
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

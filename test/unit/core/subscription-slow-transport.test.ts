import assert from 'node:assert/strict';
import { defaultPolicy, Harness, plenty } from './harness.js';

const one = { messages: 1, bytes: 1_000 };
const secondMs = 1_000;

interface Frame {
  readonly sessionId: string;
  readonly deliveryId: number;
  readonly leavesAtMs: number;
}

/** Consumers that acknowledge message 0 of partition 0 as soon as its frame has left. Each transport holds one frame. */
class SlowConsumers {
  readonly #h: Harness;
  readonly #frameMs: Readonly<Record<string, number>>;
  #frames: Frame[] = [];
  deliveryCount = 0;
  isSettled = false;

  constructor(h: Harness, frameMs: Readonly<Record<string, number>>) {
    this.#h = h;
    this.#frameMs = frameMs;
    for (const sessionId of Object.keys(frameMs)) h.open(sessionId);
  }

  /** Returns whether the message has been settled. */
  runFor(seconds: number): boolean {
    this.#serve();
    for (let i = 0; i < seconds && !this.isSettled; i += 1) {
      this.#h.advance(secondMs);
      const left = this.#frames.filter(({ leavesAtMs }) => leavesAtMs <= this.#h.nowMs);
      this.#frames = this.#frames.filter((frame) => !left.includes(frame));
      for (const { sessionId, deliveryId } of left) {
        this.#h.subscription.sent(deliveryId, this.#h.nowMs);
        if (this.#h.settle(sessionId, 0, 0, 0).settledCount > 0) this.isSettled = true;
      }
      this.#h.advance(0);
      this.#serve();
    }
    return this.isSettled;
  }

  #serve(): void {
    for (let { ready } = this.#h.effects(); ready.length > 0; { ready } = this.#h.effects()) {
      for (const sessionId of ready) this.#deliver(sessionId);
    }
  }

  #deliver(sessionId: string): void {
    const { subscription, nowMs } = this.#h;
    if (this.#frames.some((frame) => frame.sessionId === sessionId)) {
      subscription.decline(sessionId);
      return;
    }
    const answer = subscription.nextFetch(sessionId, nowMs);
    if (answer.kind === 'wait') return;
    const delivery = this.#h.lease(sessionId, answer);
    if (delivery === undefined) return;
    this.deliveryCount += 1;
    const { deliveryId } = delivery;
    this.#frames.push({ sessionId, deliveryId, leavesAtMs: nowMs + this.#frameMs[sessionId]! });
  }
}

describe('a transport that is slow but moves', () => {
  for (const ordering of ['partition', 'key', 'none'] as const) {
    it(`delivers in the end, also if all transports are slow, order ${ordering}`, () => {
      const h = new Harness({ ordering });
      h.partition(0, 1);
      const consumers = new SlowConsumers(h, { a: 12 * secondMs, b: 12 * secondMs });
      assert.ok(consumers.runFor(60));
      assert.equal(consumers.deliveryCount, 2);
    });

    it(`delivers in the end, whatever a frame needs, beside one that never moves, order ${ordering}`, () => {
      const h = new Harness({ ordering });
      h.partition(0, 1);
      const frameMs = 500 * secondMs;
      const consumers = new SlowConsumers(h, { a: frameMs, never: Number.POSITIVE_INFINITY, b: frameMs });
      assert.ok(consumers.runFor(3_600));
      assert.ok(consumers.deliveryCount < 10, `${consumers.deliveryCount} deliveries`);
    });
  }

  it('has twice as long for a message that was taken back before, until a consumer gets the message', () => {
    const h = new Harness({ ordering: 'none' });
    h.partition(0, 1);
    h.open('a');
    h.leaseNext('a');
    h.open('b');
    h.advance(10 * secondMs);
    const { deliveryId, messages } = h.leaseNext('b');
    assert.deepEqual(messages, ['0:0']);
    h.open('c');
    h.advance(20 * secondMs - 1);
    assert.equal(h.outstanding('b'), 1);
    h.subscription.sent(deliveryId, h.nowMs);
    h.nack('b', 0, 0, 0, 0);
    assert.deepEqual(h.leaseNext('c').messages, ['0:0#2']);
    h.advance(10 * secondMs);
    assert.equal(h.outstanding('c'), 0);
  });

  it('is not stuck while deliveries leave one after the other', () => {
    const h = new Harness({ ordering: 'none' });
    h.partition(0, 1);
    h.open('slow');
    const { deliveryId } = h.leaseNext('slow');
    h.append(0, [0]);
    h.leaseNext('slow');
    h.open('other', plenty);
    h.advance(9 * secondMs);
    h.subscription.sent(deliveryId, h.nowMs);
    h.settle('slow', 0, 0, 0);
    h.advance(10 * secondMs - 1);
    assert.equal(h.outstanding('slow'), 1);
    h.advance(1);
    assert.equal(h.outstanding('slow'), 0);
  });

  it('keeps its messages while all other sessions lack credit', () => {
    const h = new Harness({ ordering: 'none' });
    h.partition(0, 1);
    h.open('slow');
    h.leaseNext('slow');
    h.open('busy', one);
    h.append(0, [0, 0]);
    assert.deepEqual(h.deliver('busy'), ['0:1']);
    h.settle('busy', 0, 1, 1, { kind: 'extend', byMs: 1_000 * secondMs });
    h.advance(100 * secondMs);
    assert.equal(h.outstanding('slow'), 1);
    h.settle('busy', 0, 1, 1);
    assert.deepEqual(h.deliver('busy'), ['0:2']);
    h.advance(0);
    assert.equal(
      h.outstanding('slow'),
      0,
      'a session that settles can take it, although its credit is used up',
    );
    h.settle('busy', 0, 2, 2);
    assert.deepEqual(h.deliver('busy'), ['0:0']);
  });

  it('has as long as the new lease time when the policy changes', () => {
    const h = new Harness({ ackDeadlineMs: 300 * secondMs });
    h.partition(0, 1);
    h.open('slow');
    h.leaseNext('slow');
    h.open('other');
    h.advance(5 * secondMs);
    h.subscription.setPolicy({ ...defaultPolicy, ackDeadlineMs: secondMs });
    h.advance(5 * secondMs - 1);
    assert.equal(h.outstanding('slow'), 1);
    h.advance(1);
    assert.deepEqual(h.serve(), { other: ['0:0'] });
  });
});

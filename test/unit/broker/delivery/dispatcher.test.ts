import assert from 'node:assert/strict';
import { SluiceError } from '../../../../src/base/errors.js';
import { InvariantError } from '../../../../src/base/invariant.js';
import { silentLogger } from '../../../../src/base/logger.js';
import { Counters } from '../../../../src/broker/counters.js';
import { ConsumerLink } from '../../../../src/broker/delivery/consumer-link.js';
import { CumulativeAcks } from '../../../../src/broker/delivery/cumulative-acks.js';
import { Dispatcher } from '../../../../src/broker/delivery/dispatcher.js';
import type { LaneReaders } from '../../../../src/broker/delivery/lane-readers.js';
import { FramePool } from '../../../../src/broker/frames/frame-pool.js';
import type { Fetch, SubscriptionState } from '../../../../src/core/types.js';
import type { StoredRun } from '../../../../src/storage/types.js';
import { nextUnhandled } from '../../../support/unhandled.js';

const run: StoredRun = {
  partition: 0,
  firstOffset: 0,
  count: 1,
  publishTimeMs: 1,
  producerId: '',
  targetSubscriptionId: 0,
  messages: new Uint8Array(4),
  ends: Uint32Array.of(4),
};
const fetch: Fetch = { kind: 'fetch', partition: 0, offset: 0, epoch: 1 };

/** A dispatcher with one session, over a subscription state that asks for one read and a reader that answers as the test says. */
class Setup {
  readonly counters = new Counters();
  readonly readFailures: unknown[] = [];
  readonly abandoned: Fetch[] = [];
  deliveredCount = 0;
  ready: () => void = () => {};
  lease: () => void = () => {};
  readonly link: ConsumerLink;
  readonly dispatcher: Dispatcher;
  #hasFetched = false;
  #hasLeased = false;

  constructor(read: () => readonly StoredRun[] | Promise<readonly StoredRun[]>) {
    const state: Partial<SubscriptionState> = {
      nextFetch: () => {
        // After the lease, the state is asked again to serve the session further.
        if (this.#hasLeased) this.ready();
        if (this.#hasFetched) return { kind: 'wait', reason: 'caughtUp' };
        this.#hasFetched = true;
        return fetch;
      },
      lease: () => {
        this.lease();
        this.#hasLeased = true;
        return { deliveryId: 1, runs: [{ run: 0, from: 0, to: 1, attempt: 1 }] } as never;
      },
      abandon: (_sessionId, abandoned) => void this.abandoned.push(abandoned),
      sent: () => {},
      openSession: () => {},
      closeSession: () => {},
      decline: () => {},
      wakeAtMs: Number.POSITIVE_INFINITY,
      takeEffects: () => this.#takeEffects(),
    };
    this.link = new ConsumerLink(
      's',
      {} as never,
      {
        deliver: () => void this.deliveredCount++,
        ended: (error: unknown) => void this.readFailures.push(error),
      } as never,
      {
        frames: new FramePool(2 ** 20).open(),
        waited: this.counters.waited,
        clock: { monotonicMs: () => 0 },
      },
      0,
      new CumulativeAcks([]),
    );
    const services = {
      clock: { monotonicMs: () => 0 },
      logger: silentLogger,
      alarm: { set: () => {} },
      counters: this.counters,
      sessions: new Map(),
    };
    this.dispatcher = new Dispatcher(
      services as never,
      { name: 't' } as never,
      1,
      { name: 's', ordering: 'partition' } as never,
      state as SubscriptionState,
      { read, closeAll: () => {} } as unknown as LaneReaders,
      undefined as never,
    );
    this.dispatcher.addLink(this.link);
  }

  /** The session is opened, and the state calls it ready. */
  run(): void {
    this.dispatcher.startSession(this.link, { messages: 1, bytes: 1 });
  }

  #takeEffects(): ReturnType<SubscriptionState['takeEffects']> {
    const ready = this.#hasFetched ? [] : ['s'];
    return { dirtyPartitions: [], deadLetterRequests: [], assignments: [], revocations: [], ready };
  }
}

describe('the dispatcher', () => {
  it('hands on what a read fails with, and counts the read once', async () => {
    const damage = new SluiceError('DATA_LOSS', 'damaged');
    const setup = new Setup(() => Promise.reject(damage));
    setup.run();
    assert.equal(setup.link.readsUnderWay, 1);
    await new Promise(setImmediate);
    assert.deepEqual(setup.readFailures, [damage]);
    assert.deepEqual(setup.abandoned, [fetch]);
    assert.equal(setup.link.readsUnderWay, 0);
  });

  it('blames no read, and ends no session, for a fault in serving another one after it', async () => {
    const setup = new Setup(() => Promise.resolve([run]));
    const fault = new InvariantError('a lease would be given twice');
    setup.ready = () => {
      throw fault;
    };
    assert.equal(await nextUnhandled(() => setup.run()), fault);
    assert.equal(setup.deliveredCount, 1);
    assert.deepEqual(setup.readFailures, []);
    assert.deepEqual(setup.abandoned, []);
    assert.equal(setup.link.readsUnderWay, 0, 'the read is counted once');
  });

  it('does the same for a read that memory answers at once', () => {
    const setup = new Setup(() => [run]);
    setup.lease = () => {
      throw new InvariantError('a lease would be given twice');
    };
    assert.throws(() => setup.run(), InvariantError);
    assert.deepEqual(setup.readFailures, []);
    assert.deepEqual(setup.abandoned, []);
  });
});

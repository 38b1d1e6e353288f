import assert from 'node:assert/strict';
import type { Ordering } from '../../../src/base/model.js';
import { createRandom } from '../../../src/base/random.js';
import { Harness, plenty } from './harness.js';

function openAll(h: Harness, count: number): string[] {
  const sessionIds = Array.from({ length: count }, (_, i) => `worker-${i}`);
  for (const sessionId of sessionIds) h.open(sessionId);
  h.serve();
  return sessionIds;
}

function outstanding(h: Harness, sessionIds: readonly string[]): number[] {
  return sessionIds.map((sessionId) => h.outstanding(sessionId));
}

/** The keys of so many messages: each its own. */
function keysFrom(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => first + i);
}

describe('work that sessions share', () => {
  for (const ordering of ['none', 'key'] as const satisfies readonly Ordering[]) {
    describe(`in order of ${ordering}`, () => {
      const keys = (first: number, count: number) =>
        ordering === 'key' ? keysFrom(first + 1, count) : new Array<number>(count).fill(0);

      for (const [workers, tasks] of [
        [3, 24],
        [10, 100],
      ] as const) {
        it(`splits ${tasks} messages that come at once among ${workers} idle workers with endless credit`, () => {
          const h = new Harness({ ordering });
          h.partition(0, 0);
          const sessionIds = openAll(h, workers);
          h.append(0, keys(0, tasks));
          h.serve();
          assert.deepEqual(outstanding(h, sessionIds), new Array(workers).fill(tasks / workers));
        });

        it(`splits ${tasks} messages in bursts among ${workers} workers`, () => {
          const h = new Harness({ ordering });
          h.partition(0, 0);
          const sessionIds = openAll(h, workers);
          const random = createRandom(workers);
          for (let sent = 0; sent < tasks; ) {
            const burst = Math.min(tasks - sent, 1 + Math.floor(random.next() * 9));
            h.append(0, keys(sent, burst));
            h.serve();
            sent += burst;
          }
          assert.deepEqual(outstanding(h, sessionIds), new Array(workers).fill(tasks / workers));
        });

        it(`splits ${tasks} messages over four partitions among ${workers} workers`, () => {
          const h = new Harness({ ordering });
          for (let partition = 0; partition < 4; partition += 1) h.partition(partition, 0);
          const sessionIds = openAll(h, workers);
          for (let partition = 0; partition < 4; partition += 1) {
            h.append(partition, keys((partition * tasks) / 4, tasks / 4));
          }
          h.serve();
          assert.deepEqual(outstanding(h, sessionIds), new Array(workers).fill(tasks / workers));
        });
      }

      it('gives all that there is to a session that alone waits', () => {
        const h = new Harness({ ordering });
        h.partition(0, 0);
        h.open('poor', { messages: 1, bytes: 1_000 });
        h.open('rich');
        h.serve();
        h.append(0, keys(0, 1));
        h.serve();
        assert.equal(h.outstanding('poor'), 1, 'it has no credit left');
        h.append(0, keys(1, 1_000));
        assert.deepEqual(h.deliver('rich'), ['0:1-1000']);
      });

      it('gives what is not leased yet to one that joins in the middle, and leaves the rest where it is', () => {
        const h = new Harness({ ordering });
        h.partition(0, 0);
        h.append(0, keys(0, 50));
        h.open('a', { messages: 30, bytes: 1_000_000 });
        h.serve();
        h.open('b');
        h.serve();
        assert.deepEqual(outstanding(h, ['a', 'b']), [30, 20]);
        h.append(0, keys(50, 4));
        h.subscription.setCredit('a', plenty);
        h.serve();
        assert.deepEqual(outstanding(h, ['a', 'b']), [30, 24], 'the one with the fewest gets what comes');
        h.append(0, keys(54, 20));
        h.serve();
        assert.deepEqual(outstanding(h, ['a', 'b']), [37, 37]);
      });

      it('gives the next message to the one that has finished most', () => {
        const h = new Harness({ ordering });
        h.partition(0, 0);
        const sessionIds = openAll(h, 3);
        h.append(0, keys(0, 9));
        h.serve();
        const [, second] = sessionIds;
        const lease = Array.from({ length: 9 }, (_, offset) => offset).filter((offset) => {
          const state = h.subscription.status(0, offset);
          return state.kind === 'processing' && state.sessionId === second;
        });
        h.settle(second!, 0, lease[0]!, lease[0]!);
        h.serve();
        h.append(0, keys(9, 1));
        h.serve();
        assert.deepEqual(outstanding(h, sessionIds), [3, 3, 3]);
      });

      it('passes on what a session was woken for that can take nothing', () => {
        const h = new Harness({ ordering });
        h.partition(0, 0);
        const [first, second] = openAll(h, 2);
        h.append(0, keys(0, 1));
        const [woken] = h.effects().ready;
        h.subscription.decline(woken!);
        const other = woken === first ? second : first;
        assert.deepEqual(h.effects().ready, [other]);
        h.subscription.decline(other!);
        assert.deepEqual(h.effects().ready, [], 'neither is woken again before it has asked');
        assert.deepEqual(h.deliver(woken!), ['0:0']);
      });
    });
  }

  it('keeps a key with its session although others wait with less', () => {
    const h = new Harness({ ordering: 'key' });
    h.partition(0, 0);
    const sessionIds = openAll(h, 3);
    h.append(0, new Array<number>(9).fill(7));
    h.serve();
    assert.deepEqual(outstanding(h, sessionIds).sort(), [0, 0, 9]);
  });
});

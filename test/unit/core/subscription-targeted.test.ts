import assert from 'node:assert/strict';
import type { Ordering } from '../../../src/base/model.js';
import { Harness } from './harness.js';

describe('messages for another subscription', () => {
  for (const ordering of ['partition', 'key', 'none'] as const satisfies readonly Ordering[]) {
    describe(`in order of ${ordering}`, () => {
      it('are settled when they are read, and never delivered', () => {
        const harness = new Harness({ ordering });
        harness.partition(0, 2);
        harness.appendTargetedElsewhere(0, 3);
        harness.append(0, [0, 0]);
        harness.open('a');
        assert.deepEqual(harness.deliverAll('a'), ['0:0-1', '0:5-6']);
        assert.equal(harness.outstanding('a'), 4);
        assert.deepEqual(harness.subscription.cursor(0).settled, [{ first: 2, last: 4 }]);
        assert.deepEqual(harness.effects().dirtyPartitions, [0]);
        assert.deepEqual(harness.subscription.status(0, 3), { kind: 'done' });
        const { settledCount, stale } = harness.settle('a', 0, 0, 6);
        assert.deepEqual([settledCount, stale], [4, []]);
        assert.equal(harness.subscription.cursor(0).acknowledgedOffset, 7);
        assert.equal(harness.waitReason('a'), 'caughtUp');
      });

      it('cost no credit', () => {
        const harness = new Harness({ ordering });
        harness.partition(0, 0);
        harness.appendTargetedElsewhere(0, 10);
        harness.append(0, [0, 0]);
        harness.open('a', { messages: 1, bytes: 1_000 });
        assert.deepEqual(harness.deliverAll('a'), ['0:10']);
        assert.equal(harness.waitReason('a'), 'messageCredit');
      });

      it('count as backlog until a session reads them', () => {
        const harness = new Harness({ ordering });
        harness.partition(0, 0);
        harness.appendTargetedElsewhere(0, 3);
        assert.equal(harness.subscription.partitionStatus(0).backlogMessageCount, 3);
        harness.open('a');
        assert.deepEqual(harness.deliverAll('a'), []);
        assert.equal(harness.subscription.partitionStatus(0).backlogMessageCount, 0);
        assert.equal(harness.subscription.cursor(0).acknowledgedOffset, 3);
        assert.deepEqual(harness.effects().dirtyPartitions, [0]);
      });

      it('stay settled when a message before them fails', () => {
        const harness = new Harness({ ordering });
        harness.partition(0, 1);
        harness.appendTargetedElsewhere(0, 2);
        harness.append(0, [0]);
        harness.open('a');
        assert.deepEqual(harness.deliverAll('a'), ['0:0', '0:3']);
        harness.nack('a', 0, 0, 0, 0);
        const again = ordering === 'partition' ? ['0:0#2', '0:3'] : ['0:0#2'];
        assert.deepEqual(harness.deliverAll('a'), again);
        assert.deepEqual(harness.subscription.cursor(0).settled, [{ first: 1, last: 2 }]);
      });

      it('are passed over again after a seek', () => {
        const harness = new Harness({ ordering });
        harness.partition(0, 1);
        harness.appendTargetedElsewhere(0, 2);
        harness.open('a');
        assert.deepEqual(harness.deliverAll('a'), ['0:0']);
        harness.subscription.seek(0, 0, harness.nowMs);
        assert.equal(harness.subscription.partitionStatus(0).backlogMessageCount, 3);
        assert.deepEqual(harness.deliverAll('a'), ['0:0']);
        assert.equal(harness.subscription.partitionStatus(0).backlogMessageCount, 1);
      });
    });
  }
});

import assert from 'node:assert/strict';
import { within } from '../../../src/base/within.js';
import { VirtualClock } from '../../support/virtual-clock.js';

describe('within', () => {
  it('says whether a promise resolved in time, and passes a rejection on', async () => {
    const clock = new VirtualClock();
    assert.equal(await within(clock, 10, Promise.resolve()), true);
    await assert.rejects(within(clock, 10, Promise.reject(new Error('no'))), /no/);
  });

  it('waits no longer than it is told, and ignores what comes later', async () => {
    const clock = new VirtualClock();
    let reject: (error: Error) => void = () => {};
    const waiting = within(clock, 10, new Promise((_resolve, fail) => (reject = fail)));
    clock.advance(10);
    assert.equal(await waiting, false);
    reject(new Error('too late'));
    await new Promise(setImmediate);
  });
});

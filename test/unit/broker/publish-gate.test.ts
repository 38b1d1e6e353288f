import assert from 'node:assert/strict';
import { limits } from '../../../src/base/limits.js';
import { PublishGate } from '../../../src/broker/publish-gate.js';
import { VirtualClock } from '../../support/virtual-clock.js';

describe('PublishGate', () => {
  let roomBytes: number;
  let clock: VirtualClock;
  let gate: PublishGate;
  let entered: string[];

  beforeEach(() => {
    roomBytes = 0;
    clock = new VirtualClock();
    gate = new PublishGate({ clock, roomBytes: () => roomBytes });
    entered = [];
  });

  const wait = (name: string, requestBytes: number) =>
    gate.wait(() => {
      entered.push(name);
    }, requestBytes);

  it('is in the way once there is more than there is room for', () => {
    assert.equal(gate.isInTheWay, false);
    roomBytes = -1;
    assert.equal(gate.isInTheWay, true);
  });

  it('lets in first come first served, no more than there is room for', () => {
    roomBytes = -1;
    for (const name of ['a', 'b', 'c']) wait(name, 100);
    gate.admit();
    assert.deepEqual(entered, []);
    roomBytes = 150;
    gate.admit();
    assert.deepEqual(entered, ['a', 'b']);
    gate.admit();
    assert.deepEqual(entered, ['a', 'b'], 'nothing has come yet: the room is kept');
    assert.equal(gate.isInTheWay, true, 'for newcomers as well');
  });

  it('gives the room on when the request has come, once', () => {
    roomBytes = -1;
    let arrived = () => {};
    gate.wait((told) => {
      arrived = told;
    }, 100);
    wait('b', 100);
    roomBytes = 50;
    gate.admit();
    assert.deepEqual(entered, []);
    arrived();
    arrived();
    gate.admit();
    assert.deepEqual(entered, ['b']);
    assert.equal(gate.isInTheWay, true);
  });

  it('gives the room of somebody who sends nothing to the next', () => {
    roomBytes = -1;
    wait('idle', 100);
    wait('busy', 100);
    roomBytes = 0;
    gate.admit();
    assert.deepEqual(entered, ['idle']);
    clock.advance(limits.admissionMs);
    assert.deepEqual(entered, ['idle', 'busy']);
  });

  it('forgets whoever gives up', () => {
    const giveUp = wait('a', 0);
    giveUp();
    gate.admit();
    assert.deepEqual(entered, []);
  });
});

import assert from 'node:assert/strict';
import { PublishGate } from '../../../src/broker/publish-gate.js';

describe('PublishGate', () => {
  it('lets pass at once while it is open', () => {
    let count = 0;
    new PublishGate(() => true).pass(() => count++);
    assert.equal(count, 1);
  });

  it('holds whoever comes while it is shut, and lets in first come first served, as long as there is room', () => {
    let room = 0;
    const gate = new PublishGate(() => room > 0);
    const entered: string[] = [];
    for (const name of ['a', 'b', 'c']) {
      gate.pass(() => {
        room--;
        entered.push(name);
      });
    }
    assert.deepEqual(entered, []);
    assert.equal(gate.waitingCount, 3);
    room = 2;
    gate.admit();
    assert.deepEqual(entered, ['a', 'b']);
    room = 1;
    gate.admit();
    assert.deepEqual(entered, ['a', 'b', 'c']);
    assert.equal(gate.waitingCount, 0);
  });

  it('forgets whoever gives up', () => {
    let isOpen = false;
    const gate = new PublishGate(() => isOpen);
    let count = 0;
    const giveUp = gate.pass(() => count++);
    giveUp();
    isOpen = true;
    gate.admit();
    assert.equal(count, 0);
  });
});

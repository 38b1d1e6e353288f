import assert from 'node:assert/strict';
import { PublishGate } from '../../../src/broker/publish-gate.js';

describe('PublishGate', () => {
  it('is in the way while there is no room', () => {
    let hasRoom = true;
    const gate = new PublishGate(() => hasRoom);
    assert.equal(gate.isInTheWay, false);
    hasRoom = false;
    assert.equal(gate.isInTheWay, true);
  });

  it('lets in first come first served, as long as there is room', () => {
    let room = 0;
    const gate = new PublishGate(() => room > 0);
    const entered: string[] = [];
    for (const name of ['a', 'b', 'c']) {
      gate.wait(() => {
        room--;
        entered.push(name);
      });
    }
    gate.admit();
    assert.deepEqual(entered, []);
    room = 2;
    gate.admit();
    assert.deepEqual(entered, ['a', 'b']);
    room = 2;
    gate.admit();
    assert.deepEqual(entered, ['a', 'b', 'c']);
    gate.admit();
    assert.equal(room, 1, 'nobody enters twice');
  });

  it('forgets whoever gives up', () => {
    const gate = new PublishGate(() => true);
    let count = 0;
    const giveUp = gate.wait(() => count++);
    giveUp();
    gate.admit();
    assert.equal(count, 0);
  });
});

import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import { limits } from '../../../../src/base/limits.js';
import { MiB } from '../../../../src/base/units.js';
import { Answers } from '../../../../src/transport/grpc/answers.js';
import { Peers } from '../../../../src/transport/grpc/peers.js';
import { VirtualClock } from '../../../support/virtual-clock.js';

describe('answers that clients do not read', () => {
  const setup = (maxBytes: number) => {
    const peers = new Peers({ maxConnectionsPerPeer: 100, maxOpensPerSecond: 100 }, new VirtualClock());
    const answers = new Answers(maxBytes);
    let port = 0;
    const connect = () => peers.connected('10.0.0.1', `10.0.0.1:${port++}`, () => {});
    return { answers, connect };
  };

  it('count as read when they leave, and not when their call is reset', () => {
    const { answers, connect } = setup(100 * MiB);
    const connection = connect();
    answers.sent(connection, 30);
    answers.dropped(connection, 10);
    assert.equal(connection.leftCount, 0);
    answers.left(connection, 20);
    assert.equal(connection.leftCount, 1);
    assert.equal(answers.bytes, 0);
  });

  it('hold up the next calls of their connection, and of no other', async () => {
    const { answers, connect } = setup(100 * MiB);
    const [stuck, other] = [connect(), connect()];
    const order: string[] = [];
    answers.whenRoom(stuck, () => answers.sent(stuck, limits.answerBytesPerConnection));
    answers.whenRoom(stuck, () => order.push('stuck'));
    answers.whenRoom(other, () => order.push('other'));
    await setImmediate();
    assert.deepEqual(order, ['other']);
    answers.left(stuck, limits.answerBytesPerConnection);
    assert.deepEqual(order, ['other', 'stuck']);
    assert.equal(answers.bytes, 0);
  });

  it('leave room, when there are too many of all, to connections without any, and no more than twice', () => {
    const { answers, connect } = setup(4 * MiB);
    const connections = Array.from({ length: 20 }, connect);
    let begunCount = 0;
    for (const connection of connections) {
      answers.whenRoom(connection, () => {
        begunCount++;
        answers.sent(connection, MiB);
      });
    }
    assert.equal(begunCount, 8);
    assert.equal(answers.isPressed, true);
    for (const connection of connections.slice(0, 8)) answers.left(connection, MiB);
    assert.ok(begunCount > 8, 'who waited gets an answer once others have left');
  });

  it('are not kept for calls that are over', async () => {
    const { answers, connect } = setup(100 * MiB);
    const stuck = connect();
    const order: string[] = [];
    answers.whenRoom(stuck, () => answers.sent(stuck, limits.answerBytesPerConnection));
    const cancelled = () => order.push('cancelled');
    answers.whenRoom(stuck, cancelled);
    answers.whenRoom(stuck, () => order.push('kept'));
    answers.giveUp(stuck, cancelled);
    assert.equal(stuck.waiting.size, 1);
    answers.left(stuck, limits.answerBytesPerConnection);
    assert.deepEqual(order, ['kept']);
  });

  it('are begun a few in each turn of the event loop', async () => {
    const { answers, connect } = setup(100 * MiB);
    const connection = connect();
    let begunCount = 0;
    for (let i = 0; i < 3 * limits.answersPerTurn; i++) answers.whenRoom(connection, () => void begunCount++);
    for (let turn = 1; turn <= 3; turn++) {
      assert.equal(begunCount, turn * limits.answersPerTurn);
      await setImmediate();
    }
  });
});

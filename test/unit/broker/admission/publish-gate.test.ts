import assert from 'node:assert/strict';
import { limits } from '../../../../src/base/limits.js';
import { PublishGate } from '../../../../src/broker/admission/publish-gate.js';
import { TopicLine } from '../../../../src/broker/admission/topic-line.js';
import { VirtualClock } from '../../../support/virtual-clock.js';

describe('PublishGate', () => {
  let roomBytes: number;
  let clock: VirtualClock;
  let gate: PublishGate;
  let line: TopicLine;
  let entered: string[];

  beforeEach(() => {
    roomBytes = 0;
    clock = new VirtualClock();
    const queue = {
      get roomBytes() {
        return roomBytes;
      },
    };
    gate = new PublishGate({ clock, queue });
    line = new TopicLine();
    entered = [];
  });

  const wait = (name: string, requestBytes: number, at = line) =>
    gate.wait(
      at,
      () => {
        entered.push(name);
      },
      requestBytes,
    );

  const submit = (to: TopicLine, bytes: number) => {
    for (let submitted = 0; submitted < bytes; submitted += 50) gate.submitted(to, 50);
  };

  it('is in the way once there is more than there is room for', () => {
    assert.equal(gate.isClosedFor(line), false);
    roomBytes = -1;
    assert.equal(gate.isClosedFor(line), true);
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
    assert.equal(gate.isClosedFor(line), true, 'for newcomers as well');
  });

  it('gives the room on when the request has come, once', () => {
    roomBytes = -1;
    let releaseRoom = () => {};
    gate.wait(
      line,
      (release) => {
        releaseRoom = release;
      },
      100,
    );
    wait('b', 100);
    roomBytes = 50;
    gate.admit();
    assert.deepEqual(entered, []);
    releaseRoom();
    releaseRoom();
    gate.admit();
    assert.deepEqual(entered, ['b']);
    assert.equal(gate.isClosedFor(line), true);
  });

  it('gives the room of a stream that sends nothing to the next one', () => {
    roomBytes = -1;
    wait('idle', 100);
    wait('busy', 100);
    roomBytes = 0;
    gate.admit();
    assert.deepEqual(entered, ['idle']);
    clock.advance(limits.admissionMs);
    assert.deepEqual(entered, ['idle', 'busy']);
  });

  it('forgets a stream that gives up', () => {
    const giveUp = wait('a', 0);
    giveUp();
    gate.admit();
    assert.deepEqual(entered, []);
  });

  it('lets no stream pass the waiting streams of its topic, although there is room', () => {
    roomBytes = -1;
    wait('a', 100);
    roomBytes = 1_000;
    assert.equal(gate.isClosedFor(line), true);
    gate.admit();
    assert.deepEqual(entered, ['a']);
    assert.equal(gate.isClosedFor(line), false);
  });

  it('lets in the topics in turn, each its streams in turn', () => {
    const other = new TopicLine();
    roomBytes = -1;
    for (const name of ['a1', 'a2', 'a3']) wait(name, 100);
    for (const name of ['b1', 'b2']) wait(name, 100, other);
    roomBytes = 10_000;
    gate.admit();
    assert.deepEqual(entered, ['a1', 'b1', 'a2', 'b2', 'a3']);
  });

  it('holds a topic at its share, says so, and keeps the rest for the other one', async () => {
    const other = new TopicLine();
    submit(line, 600);
    roomBytes = -1;
    wait('a', 100);
    wait('b', 100, other);
    assert.equal(line.holdReason, 'writer');
    roomBytes = 400;
    gate.admit();
    assert.deepEqual(entered, ['b'], 'a has more than half of the 1,000');
    assert.equal(line.holdReason, 'share');
    assert.equal(other.holdReason, 'writer');
    assert.equal(gate.isClosedFor(other), false, 'and the other one may go on');
    gate.committed(line, 200);
    roomBytes = 600;
    await Promise.resolve();
    assert.deepEqual(entered, ['b', 'a']);
  });

  it('gives a topic more with each round in which the other one is silent, and then all', async () => {
    const other = new TopicLine();
    submit(line, 500);
    submit(other, 500);
    roomBytes = -1;
    for (let i = 0; i < 20; i += 1) wait('a', 100);
    gate.committed(other, 500);
    roomBytes = 500;
    for (const count of [0, 0, 2, 4, 4]) {
      // A round of nothing: what was let in has not arrived and keeps its room.
      gate.committed(line, 0);
      await Promise.resolve();
      assert.equal(entered.length, count, `${entered.length} of ${count}`);
    }
  });

  it('has a new stream wait in the line of the topic that its connection used last', () => {
    assert.equal(gate.lineOf('peer'), gate.newcomers);
    gate.remember('peer', line);
    assert.equal(gate.lineOf('peer'), line);
    for (let i = 0; i < limits.rememberedPeers - 1; i += 1) gate.remember(`other ${i}`, new TopicLine());
    assert.equal(gate.lineOf('peer'), line);
    gate.remember('one more', new TopicLine());
    assert.equal(gate.lineOf('peer'), gate.newcomers, 'the oldest is forgotten');
  });

  it('keeps the place of a topic when one of its streams gives up, and not when the last one does', () => {
    roomBytes = -1;
    const giveUps = ['a', 'b'].map((name) => wait(name, 10));
    giveUps[0]!();
    roomBytes = 5;
    gate.admit();
    assert.deepEqual(entered, ['b']);
    roomBytes = -1;
    wait('c', 10)();
    roomBytes = 5;
    gate.admit();
    assert.deepEqual(entered, ['b']);
    assert.equal(gate.isClosedFor(new TopicLine()), true, 'room is kept for b');
    clock.advance(limits.admissionMs);
    assert.equal(gate.isClosedFor(new TopicLine()), false, 'nothing waits');
  });

  it('remembers the topic of a connection, of so many connections', () => {
    const lines = [new TopicLine(), new TopicLine()] as const;
    assert.equal(gate.lineOf('peer'), gate.newcomers);
    gate.remember('peer', lines[0]);
    gate.remember('other', lines[0]);
    gate.remember('peer', lines[1]);
    assert.equal(gate.lineOf('peer'), lines[1]);
    for (let i = 0; i < limits.rememberedPeers - 2; i += 1) gate.remember(`${i}`, lines[0]);
    assert.equal(gate.lineOf('other'), lines[0]);
    gate.remember('one more', lines[0]);
    assert.equal(gate.lineOf('other'), gate.newcomers, 'the least recent one is forgotten');
    assert.equal(gate.lineOf('peer'), lines[1]);
  });
});

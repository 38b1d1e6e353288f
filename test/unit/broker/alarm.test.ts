import assert from 'node:assert/strict';
import { Alarm } from '../../../src/broker/alarm.js';
import { VirtualClock } from '../../support/virtual-clock.js';

function sleeper(log: string[], name: string) {
  return { wake: (nowMs: number) => void log.push(`${name}@${nowMs}`) };
}

describe('Alarm', () => {
  it('wakes each sleeper once, at its time, with one timer for all', () => {
    const clock = new VirtualClock(0);
    const alarm = new Alarm(clock);
    const log: string[] = [];
    alarm.set(sleeper(log, 'late'), 50);
    alarm.set(sleeper(log, 'soon'), 10);
    assert.equal(clock.pendingCount, 1);
    clock.advance(100);
    assert.deepEqual(log, ['soon@10', 'late@50']);
    assert.equal(clock.pendingCount, 0);
  });

  it('follows a sleeper that changes its mind', () => {
    const clock = new VirtualClock(0);
    const alarm = new Alarm(clock);
    const log: string[] = [];
    const one = sleeper(log, 'one');
    alarm.set(one, 10);
    alarm.set(one, 40);
    clock.advance(39);
    assert.deepEqual(log, []);
    clock.advance(1);
    assert.deepEqual(log, ['one@40']);
    alarm.set(one, 50);
    alarm.set(one, Number.POSITIVE_INFINITY);
    clock.advance(100);
    assert.deepEqual(log, ['one@40']);
  });

  it('lets a sleeper set itself again while it is woken', () => {
    const clock = new VirtualClock(0);
    const alarm = new Alarm(clock);
    const times: number[] = [];
    const ticking = {
      wake(nowMs: number) {
        times.push(nowMs);
        alarm.set(ticking, nowMs + 10);
      },
    };
    alarm.set(ticking, 10);
    clock.advance(35);
    assert.deepEqual(times, [10, 20, 30]);
    alarm.stop();
    clock.advance(100);
    assert.equal(times.length, 3);
  });
});

import assert from 'node:assert/strict';
import { Credit } from '#client/consumer/credit.js';

/** So many are settled in a second, seen four times in it. */
function second(
  credit: Credit,
  { from, settled, held }: { from: number; settled: number; held: number },
): void {
  for (let quarter = 1; quarter <= 4; quarter++) {
    for (let i = 0; i < settled / 4; i++) credit.settled();
    credit.adapt(held, from + quarter * 250);
  }
}

describe('Credit', () => {
  it('begins with what the handlers need, and doubles while all of it is settled within a second', () => {
    const credit = new Credit(10_000, 1, 0);
    assert.equal(credit.granted, 16);
    const turnOver = (nowMs: number) => {
      const count = credit.granted;
      for (let i = 1; i < count; i++) assert.equal(credit.settled(), false);
      assert.equal(credit.settled(), true);
      return credit.turnedOver(nowMs);
    };
    assert.equal(turnOver(10), true);
    assert.equal(credit.granted, 32);
    assert.equal(turnOver(1_011), false, 'that was slow');
    assert.equal(credit.granted, 32);
    for (let i = 1; i <= 9; i++) turnOver(1_100 + i);
    assert.equal(credit.granted, 10_000);
    assert.equal(turnOver(1_120), false, 'there is no more');
  });

  it('grows within a second to what is processed in two', () => {
    const credit = new Credit(10_000, 1, 0);
    second(credit, { from: 0, settled: 3_000, held: 900 });
    assert.equal(credit.granted, 6_000);
    second(credit, { from: 1_000, settled: 400_000, held: 900 });
    assert.equal(credit.granted, 10_000);
  });

  it('shrinks for slow handlers, but not because there is nothing to do', () => {
    const credit = new Credit(10_000, 1, 0);
    second(credit, { from: 0, settled: 100_000, held: 5_000 });
    second(credit, { from: 1_000, settled: 4, held: 3 });
    assert.equal(credit.granted, 10_000, 'little comes');
    for (let i = 2; i < 8; i++) second(credit, { from: i * 1_000, settled: 40, held: 5_000 });
    assert(credit.granted >= 80 && credit.granted < 160, `${credit.granted}`);
    for (let i = 8; i < 20; i++) second(credit, { from: i * 1_000, settled: 0, held: 80 });
    assert(credit.granted >= 16 && credit.granted < 32, `${credit.granted}`);
  });

  it('is never more than allowed, and never less than the handlers need', () => {
    assert.equal(new Credit(7, 100, 0).granted, 7);
    const credit = new Credit(10_000, 30, 0);
    second(credit, { from: 0, settled: 0, held: 5_000 });
    assert.equal(credit.granted, 60);
    assert.equal(new Credit(10_000, 800, 0).granted, 1_600);
  });

  it('does not change for little', () => {
    const credit = new Credit(10_000, 500, 0);
    for (let i = 0; i < 125; i++) credit.settled();
    assert.equal(credit.adapt(900, 250), false, '1,000 are granted, and 500 were settled in a second');
    assert.equal(credit.adapt(900, 250), false, 'no time has passed');
  });
});

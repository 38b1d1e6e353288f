import assert from 'node:assert/strict';
import { limits } from '../../../src/base/limits.js';
import { MiB } from '../../../src/base/units.js';
import { FramePool } from '../../../src/broker/frame-pool.js';

describe('FramePool', () => {
  it('makes frames smaller the more streams have some under way, never by those that have none', () => {
    const pool = new FramePool(32 * MiB);
    const idle = Array.from({ length: 1_000 }, () => pool.open());
    assert.equal(pool.frameBytes, limits.frameBytes);
    const stalled = idle.slice(0, 64);
    for (const frames of stalled) frames.sent(pool.frameBytes);
    assert.equal(pool.frameBytes, limits.smallestFrameBytes);
    for (const frames of stalled) frames.left();
    assert.equal(pool.frameBytes, limits.frameBytes);
    assert.equal(pool.bytesUnderWay, 0);
  });

  it('bounds what a thousand streams that do not read have under way', () => {
    const totalBytes = 256 * MiB;
    const pool = new FramePool(totalBytes);
    for (let i = 0; i < 1_000; i++) {
      const frames = pool.open();
      // A frame may be twice as large, where that keeps a record whole.
      while (!frames.isFull) frames.sent(2 * frames.nextFrameBytes);
    }
    assert(pool.bytesUnderWay <= totalBytes, `${pool.bytesUnderWay} bytes are under way`);
  });

  it('forgets the frames of a stream that is over', () => {
    const pool = new FramePool(MiB);
    const frames = pool.open();
    frames.sent(5);
    frames.sent(7);
    assert.equal(frames.isFull, true);
    assert.equal(pool.bytesUnderWay, 12);
    frames.close();
    frames.close();
    frames.left();
    frames.sent(3);
    assert.equal(pool.bytesUnderWay, 0);
    assert.equal(frames.count, 0);
  });
});

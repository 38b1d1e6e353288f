import assert from 'node:assert/strict';
import { limits } from '../../../../src/base/limits.js';
import { MiB } from '../../../../src/base/units.js';
import { FramePool, type FramesUnderWay } from '../../../../src/broker/frames/frame-pool.js';

/** A stream whose frames have left until they could be no larger. */
function grown(pool: FramePool): FramesUnderWay {
  const frames = pool.open();
  while (frames.nextFrameBytes < limits.frameBytes) {
    frames.sent(frames.nextFrameBytes);
    frames.left();
  }
  return frames;
}

function stall(frames: FramesUnderWay): void {
  while (!frames.isFull) frames.sent(frames.nextFrameBytes);
}

describe('FramePool', () => {
  it('begins with small frames, and gives larger ones to those whose frames leave', () => {
    const pool = new FramePool(32 * MiB);
    const frames = pool.open();
    const sizes: number[] = [];
    for (let i = 0; i < 6; i++) {
      sizes.push(frames.nextFrameBytes / limits.smallestFrameBytes);
      frames.sent(frames.nextFrameBytes);
      frames.left();
    }
    assert.deepEqual(sizes, [1, 2, 4, 8, 16, 16]);
  });

  it('spends little on those who never read, and leaves the others their frames', () => {
    const pool = new FramePool(256 * MiB);
    const reading = grown(pool);
    for (let i = 0; i < 1_000; i++) stall(pool.open());
    assert.equal(pool.bytesUnderWay, 1_000 * limits.framesUnderWay * limits.smallestFrameBytes);
    assert.equal(reading.nextFrameBytes, limits.frameBytes);
  });

  it('bounds what is under way when all stop reading that did', () => {
    const totalBytes = 64 * MiB;
    const pool = new FramePool(totalBytes);
    const all = Array.from({ length: 1_000 }, () => grown(pool));
    for (const frames of all) stall(frames);
    // The one that fills the memory may do so with a frame of its size.
    const mostBytes = totalBytes + limits.frameBytes + all.length * limits.leastFrameBytes;
    assert(pool.bytesUnderWay <= mostBytes, `${pool.bytesUnderWay} bytes are under way`);
    for (const frames of all) {
      assert.equal(frames.count > 0, true, 'each has one');
      while (frames.count > 0) frames.left();
    }
    assert.equal(all[0]!.nextFrameBytes, limits.frameBytes, 'memory is there again');
  });

  it('lets no frames grow while half of the memory is under way', () => {
    const pool = new FramePool(2 * MiB);
    const stalled = Array.from({ length: 2 }, () => grown(pool));
    for (const frames of stalled) stall(frames);
    const frames = pool.open();
    frames.sent(1);
    frames.left();
    assert.equal(frames.nextFrameBytes, limits.smallestFrameBytes);
  });

  it('forgets the frames of a stream that is over', () => {
    const pool = new FramePool(MiB);
    const frames = pool.open();
    frames.sent(5);
    frames.sent(7);
    assert.equal(pool.bytesUnderWay, 12);
    frames.close();
    frames.close();
    frames.left();
    frames.sent(3);
    assert.equal(pool.bytesUnderWay, 0);
    assert.equal(frames.count, 0);
  });
});

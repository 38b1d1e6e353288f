import assert from 'node:assert/strict';
import { limits } from '../../../src/base/limits.js';
import { KiB, MiB } from '../../../src/base/units.js';
import { ReceiveWindows } from '../../../src/server/receive-windows.js';

describe('ReceiveWindows', () => {
  let applied: number[];
  const windowsOf = (receiveBytes: number, streamWindowBytes: number = MiB) =>
    new ReceiveWindows({ receiveBytes, streamWindowBytes, apply: (bytes) => applied.push(bytes) });
  beforeEach(() => {
    applied = [];
  });

  it('shrink in steps as producers come, and grow again as they go', () => {
    const windows = windowsOf(64 * MiB);
    for (let i = 0; i < 40; i++) windows.enter();
    assert.deepEqual(applied, [512 * KiB, 256 * KiB, 128 * KiB]);
    for (let i = 0; i < 40; i++) windows.leave();
    assert.deepEqual(applied.slice(3), [256 * KiB, 512 * KiB, MiB]);
  });

  it('bound what a thousand held producers leave here, each having come with the window of its time', () => {
    const receiveBytes = 256 * MiB;
    const windows = windowsOf(receiveBytes);
    let bytes = 0;
    for (let i = 0; i < 1_000; i++) {
      windows.enter();
      bytes += windows.windowBytes;
    }
    assert(bytes <= receiveBytes, `${bytes} bytes`);
  });

  it('refuse a producer for whom there is no memory', () => {
    const windows = windowsOf(1 * MiB);
    const most = (1 * MiB) / 2 / limits.smallestSharedWindowBytes;
    for (let i = 0; i < most; i++) windows.enter();
    assert.throws(() => windows.enter(), { reason: 'TOO_MANY_STREAMS' });
    windows.leave();
    windows.enter();
  });
});

import assert from 'node:assert/strict';
import { limits } from '../../../../src/base/limits.js';
import { KiB, MiB } from '../../../../src/base/units.js';
import { ReceiveWindows } from '../../../../src/transport/grpc/receive-windows.js';

describe('ReceiveWindows', () => {
  let applied: [string, number][];
  const windowsOf = (receiveBytes: number, streamWindowBytes: number = MiB) =>
    new ReceiveWindows(
      { receiveBytes, streamWindowBytes },
      { setStreamWindow: (peer, bytes) => void applied.push([peer, bytes / KiB]) },
    );
  beforeEach(() => {
    applied = [];
  });

  it('widen while producers use them, as far as they may', () => {
    const windows = windowsOf(64 * MiB, 300 * KiB);
    windows.enter('a');
    for (let i = 0; i < 100; i++) windows.read('a', 32 * KiB);
    assert.deepEqual(applied, [
      ['a', 128],
      ['a', 256],
      ['a', 300],
    ]);
    assert.equal(windows.grantedBytes, 300 * KiB);
    windows.leave('a');
    assert.deepEqual(applied.at(-1), ['a', 64]);
    assert.equal(windows.grantedBytes, 0);
  });

  it('stay narrow for those who are not read', () => {
    const windows = windowsOf(128 * MiB);
    for (let i = 0; i < 1_000; i++) windows.enter(`peer-${i % 8}`);
    assert.deepEqual(applied, []);
    assert.equal(windows.grantedBytes, 1_000 * limits.initialWindowBytes);
  });

  it('narrow again when many producers open on a connection with a wide window', () => {
    const windows = windowsOf(64 * MiB);
    for (let i = 0; i < 4; i++) windows.enter('a');
    for (let i = 0; i < 1_000; i++) windows.read('a', 64 * KiB);
    assert.deepEqual(applied.at(-1), ['a', 1024]);
    for (let i = 0; i < 4; i++) windows.enter('a');
    assert.deepEqual(applied.at(-1), ['a', 1024], 'twice as many do not narrow it');
    windows.enter('a');
    assert.deepEqual(applied.at(-1), ['a', 64]);
    assert.equal(windows.grantedBytes, 9 * limits.initialWindowBytes);
  });

  it('never promise more than there is, whichever streams open and read', () => {
    const receiveBytes = 8 * MiB;
    const windows = windowsOf(receiveBytes);
    for (let i = 0; i < 64; i++) {
      windows.enter(`peer-${i}`);
      for (let j = 0; j < 200; j++) windows.read(`peer-${i}`, 64 * KiB);
      assert(windows.grantedBytes <= receiveBytes, `${windows.grantedBytes} bytes`);
    }
  });

  it('refuse a producer for whom there is no memory', () => {
    const windows = windowsOf(1 * MiB);
    const most = (1 * MiB) / 2 / limits.initialWindowBytes;
    for (let i = 0; i < most; i++) windows.enter(`peer-${i}`);
    assert.throws(() => windows.enter('late'), { reason: 'TOO_MANY_STREAMS' });
    windows.leave('peer-3');
    windows.enter('late');
  });
});

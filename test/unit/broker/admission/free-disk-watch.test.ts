import assert from 'node:assert/strict';
import { limits } from '../../../../src/base/limits.js';
import { silentLogger } from '../../../../src/base/logger.js';
import { MiB } from '../../../../src/base/units.js';
import { FreeDiskWatch } from '../../../../src/broker/admission/free-disk-watch.js';
import { VirtualClock } from '../../../support/virtual-clock.js';

const reserveBytes = 64 * MiB;
const memtableBytes = (1 + limits.fullMemtables) * limits.memtableBytes;

/** Lets a look that has its answer end. */
async function settle(): Promise<void> {
  for (let i = 0; i < 5; i += 1) await Promise.resolve();
}

/** A disk on which every submitted byte is written twice, when it is told. */
class Disk {
  submittedBytes = 0;
  writtenBytes = 0;
  probeCount = 0;
  freeBytes: number;
  #held: (() => void)[] = [];
  isHeld = false;
  fails = false;

  constructor(freeBytes: number) {
    this.freeBytes = freeBytes;
  }

  get queuedBytes(): number {
    return this.submittedBytes - this.writtenBytes;
  }

  submit(bytes: number): void {
    this.submittedBytes += bytes;
  }

  write(bytes = this.queuedBytes): void {
    this.writtenBytes += bytes;
    this.freeBytes -= bytes * limits.diskBytesPerByte;
  }

  async probe(): Promise<number> {
    this.probeCount += 1;
    const { freeBytes } = this;
    if (this.isHeld) await new Promise<void>((resolve) => this.#held.push(resolve));
    if (this.fails) throw new Error('no answer');
    return freeBytes;
  }

  answer(): void {
    for (const resolve of this.#held.splice(0)) resolve();
  }
}

describe('FreeDiskWatch', () => {
  let clock: VirtualClock;
  let disk: Disk;
  let watch: FreeDiskWatch;

  beforeEach(async () => {
    clock = new VirtualClock();
    disk = new Disk(reserveBytes + 200 * MiB);
    watch = new FreeDiskWatch({
      clock,
      logger: silentLogger,
      minFreeBytes: reserveBytes,
      probe: () => disk.probe(),
      progress: disk,
      topics: { mostPartitions: 1 },
    });
    await watch.start();
  });
  afterEach(() => watch.stop());

  it('holds before the reserve is passed, within one interval of looking', async () => {
    const requestBytes = 64 * 1024;
    for (let i = 0; i < 10_000 && !watch.isClosedStartingDueCheck(); i += 1) {
      disk.submit(requestBytes);
      disk.write();
      await settle();
    }
    assert.equal(watch.isClosedStartingDueCheck(), true);
    assert.ok(
      disk.freeBytes >= reserveBytes,
      `${reserveBytes - disk.freeBytes} bytes of the reserve are used`,
    );
    const heldAbove = disk.freeBytes - reserveBytes - memtableBytes;
    assert.ok(heldAbove < 4 * requestBytes, `held with ${heldAbove} bytes above what has to stay free`);
    assert.ok(disk.probeCount < 40, `${disk.probeCount} looks: each one at half of what was left`);
  });

  it('counts what is submitted, also while a look is under way and before it is written', async () => {
    disk.isHeld = true;
    disk.submit(60 * MiB);
    assert.equal(watch.isClosedStartingDueCheck(), false);
    disk.submit(41 * MiB);
    assert.equal(watch.isClosedStartingDueCheck(), true, '101 MiB, twice, do not fit into 200 MiB');
    disk.write(60 * MiB);
    assert.equal(watch.isClosedStartingDueCheck(), true);
    disk.submit(1 * MiB);
    disk.answer();
    await settle();
    assert.equal(watch.isClosedStartingDueCheck(), true, 'the queue is not written, and counts');
  });

  it('looks once at a time, and not again before anything more is written', async () => {
    disk.submit(60 * MiB);
    assert.equal(watch.isClosedStartingDueCheck(), false);
    assert.equal(disk.probeCount, 1, 'nothing has been written since the first look');
    disk.write(1 * MiB);
    disk.isHeld = true;
    for (let i = 0; i < 3; i += 1) assert.equal(watch.isClosedStartingDueCheck(), false);
    assert.equal(disk.probeCount, 2);
    disk.answer();
    await settle();
    for (let i = 0; i < 3; i += 1) assert.equal(watch.isClosedStartingDueCheck(), false);
    assert.equal(disk.probeCount, 2);
  });

  it('lets producers go on that were held for what is written by now', async () => {
    disk.submit(110 * MiB);
    assert.equal(watch.isClosedStartingDueCheck(), true);
    let entered = 0;
    watch.wait(() => {
      entered += 1;
    });
    disk.isHeld = true;
    disk.write(10 * MiB);
    assert.equal(watch.isClosedStartingDueCheck(), true);
    disk.answer();
    await settle();
    assert.equal(entered, 0);
    // Most of it was never stored: duplicates, say.
    disk.writtenBytes = disk.submittedBytes;
    disk.isHeld = false;
    clock.advance(limits.freeDiskRecheckMs);
    await settle();
    assert.equal(entered, 1);
  });

  it('sees within a second that others have filled the disk, and that there is room again', async () => {
    let entered = 0;
    disk.freeBytes = reserveBytes - 1;
    assert.equal(watch.isClosedStartingDueCheck(), false);
    clock.advance(limits.freeDiskCheckEveryMs);
    await settle();
    assert.equal(watch.isClosedStartingDueCheck(), true);
    watch.wait(() => {
      entered += 1;
    });
    disk.freeBytes = reserveBytes + 100 * MiB;
    clock.advance(limits.freeDiskCheckEveryMs);
    await settle();
    assert.equal(watch.isClosedStartingDueCheck(), false);
    assert.equal(entered, 1);
  });

  it('is in the way from its first look on', async () => {
    const low = new FreeDiskWatch({
      clock,
      logger: silentLogger,
      minFreeBytes: reserveBytes,
      probe: async () => reserveBytes - 1,
      progress: { submittedBytes: 0, queuedBytes: 0 },
      topics: { mostPartitions: 1 },
    });
    await low.start();
    assert.equal(low.isClosedStartingDueCheck(), true);
    assert.equal(low.refusal().reason, 'DISK_NEARLY_FULL');
    low.stop();
  });

  it('refuses nothing because the disk does not answer', async () => {
    disk.fails = true;
    clock.advance(limits.freeDiskCheckEveryMs);
    await settle();
    disk.submit(1_000 * MiB);
    assert.equal(watch.isClosedStartingDueCheck(), false);
  });
});

import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { limits } from '../../../src/base/limits.js';
import { Printer } from '../../../src/cli/consume/printer.js';
import { Output } from '../../../src/cli/output.js';
import { VirtualClock } from '../../support/virtual-clock.js';

/** A printer on a pipe that holds so much; everything that it says stands in `taken`. */
class Scene {
  readonly clock: VirtualClock;
  readonly taken: string[] = [];
  readonly failures: unknown[] = [];
  readonly printer: Printer;
  hasReader = true;
  text = '';

  constructor(heldBytes: number, clock = new VirtualClock()) {
    this.clock = clock;
    const stream = new Writable({
      write: (chunk, _encoding, done) => {
        if (!this.hasReader) return done(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }));
        this.text += String(chunk);
        done();
      },
    });
    this.printer = new Printer({
      output: new Output(stream, heldBytes),
      clock: this.clock,
      taken: ({ first, last }) => void this.taken.push(first === last ? `${first}` : `${first}-${last}`),
      failed: (error) => void this.failures.push(error),
    });
  }

  print(first: number, last: number, text: string): Promise<void> {
    return this.printer.print(
      { partition: 0, first: BigInt(first), last: BigInt(last) },
      Buffer.from(`${text}\n`),
    );
  }

  async pass(ms: number): Promise<void> {
    this.clock.advance(ms);
    await turn();
  }
}

const probeAfterMs = limits.cliReaderProbeAfterMs;

describe('what the reader of an output has taken', () => {
  it('is what was printed, where that is no pipe', async () => {
    const scene = new Scene(0);
    await scene.print(0, 4, 'a\nb\nc\nd\ne');
    assert.deepEqual(scene.taken, ['0-4']);
    assert.equal(scene.text, 'a\nb\nc\nd\ne\n');
    assert.equal(scene.clock.pendingCount, 0);
  });

  it('is what a pipe has no room for any more', async () => {
    const scene = new Scene(10);
    await scene.print(0, 0, '12345');
    await scene.print(1, 2, '12\n45');
    assert.deepEqual([scene.taken, scene.printer.untakenCount], [[], 3]);
    await scene.print(3, 3, '12345');
    assert.deepEqual([scene.taken, scene.printer.untakenCount], [['0'], 3]);
    assert.equal(scene.text, '12345\n12\n45\n12345', 'the last newline is owed');
  });

  it('is what was there some time before a later write', async () => {
    const scene = new Scene(1_000);
    await scene.print(0, 0, 'a');
    await scene.pass(probeAfterMs - 1);
    await scene.print(1, 1, 'b');
    assert.deepEqual(scene.taken, []);
    await scene.pass(1);
    await scene.print(2, 2, 'c');
    assert.deepEqual(scene.taken, ['0']);
    await scene.pass(probeAfterMs);
    assert.deepEqual(scene.taken, ['0', '1', '2'], 'the owed newline is such a write');
    assert.equal(scene.text, 'a\nb\nc\n');
    assert.equal(scene.clock.pendingCount, 0);
    assert.equal(scene.printer.isIdle, true);
  });

  it('is nothing of a reader that has ended meanwhile', async () => {
    const scene = new Scene(1_000);
    await scene.print(0, 99, 'x'.repeat(500));
    scene.hasReader = false;
    await scene.pass(probeAfterMs);
    assert.equal(scene.failures.length, 1);
    assert.deepEqual(scene.taken, []);
    assert.equal(scene.printer.isIdle, true, 'there is nothing to wait for');
    const late = new Scene(1_000);
    await late.print(0, 0, 'a');
    late.hasReader = false;
    await assert.rejects(late.print(1, 1, 'b'), { name: 'OutputClosed' });
    await late.pass(10 * probeAfterMs);
    assert.deepEqual([late.taken, late.failures], [[], []]);
  });

  it('is known although a timer fires a little early', async () => {
    class EarlyClock extends VirtualClock {
      override after(delayMs: number, wake: () => void) {
        return super.after(delayMs - 1, wake);
      }
    }
    const scene = new Scene(1_000, new EarlyClock());
    await scene.print(0, 0, 'a');
    await scene.pass(probeAfterMs);
    assert.deepEqual(scene.taken, ['0']);
  });

  it('is known in time for a short lease', async () => {
    const scene = new Scene(1_000);
    scene.printer.ackDeadlineMs = 100;
    await scene.print(0, 0, 'a');
    await scene.pass(25);
    assert.deepEqual(scene.taken, ['0']);
  });

  it('leaves no newline behind at the end', async () => {
    const scene = new Scene(1_000);
    await scene.print(0, 0, 'a');
    await scene.printer.end();
    assert.equal(scene.text, 'a\n');
    await scene.pass(probeAfterMs);
    assert.deepEqual(scene.taken, []);
  });
});

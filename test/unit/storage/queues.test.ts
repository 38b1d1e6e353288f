import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Fifo } from '../../../src/base/fifo.js';
import { SpareMemory } from '../../../src/base/spare-memory.js';
import { Run } from '../../../src/storage/codec/run.js';
import { ReadSlots } from '../../../src/storage/log/read-slots.js';
import { Tail, TailSegment } from '../../../src/storage/log/tail.js';

describe('fifo', () => {
  it('is a queue', () => {
    fc.assert(
      fc.property(fc.array(fc.option(fc.nat(), { nil: undefined })), (steps) => {
        const fifo = new Fifo<number>();
        const model: number[] = [];
        for (const step of steps) {
          if (step === undefined) assert.equal(fifo.shift(), model.shift());
          else {
            fifo.push(step);
            model.push(step);
          }
          assert.equal(fifo.length, model.length);
          assert.equal(fifo.peek(), model[0]);
        }
      }),
    );
  });
});

function run(firstOffset: number, count: number): Run {
  const header = { producerId: '', targetSubscriptionId: 0, count, byteLength: 10 };
  return new Run(0, firstOffset, 0, header, new Uint8Array(10));
}

describe('tail', () => {
  it('holds the newest rounds of all partitions, within its bytes', () => {
    const steps = fc.array(
      fc.record({
        partition: fc.integer({ min: 0, max: 2 }),
        counts: fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 4 }),
        bytes: fc.integer({ min: 1, max: 2_000 }),
      }),
      { maxLength: 60 },
    );
    fc.assert(
      fc.property(steps, (rounds) => {
        const tail = new Tail(10_000, new SpareMemory(0));
        const segments = [new TailSegment(), new TailSegment(), new TailSegment()];
        const ends = [0, 0, 0];
        const model: { partition: number; first: number; end: number; bytes: number }[] = [];
        for (const { partition, counts, bytes } of rounds) {
          const first = ends[partition]!;
          const runs = counts.map((count) => {
            ends[partition]! += count;
            return run(ends[partition]! - count, count);
          });
          tail.add(new ArrayBuffer(bytes), [{ segment: segments[partition]!, runs }]);
          model.push({ partition, first, end: ends[partition]!, bytes: bytes + (runs.length + 1) * 256 });
          while (model.reduce((sum, round) => sum + round.bytes, 0) > 10_000) model.shift();
        }
        assert.equal(
          tail.byteLength,
          model.reduce((sum, round) => sum + round.bytes, 0),
        );
        segments.forEach((segment, partition) => {
          const kept = model.filter((round) => round.partition === partition);
          for (let offset = 0; offset <= ends[partition]!; offset++) {
            const isKept = kept.some(({ first, end }) => first <= offset && offset < end);
            assert.equal(segment.holds(offset), isKept);
            if (!isKept) continue;
            const [found, next] = segment.read(offset, 11);
            assert(found!.firstOffset <= offset && offset < found!.endOffset);
            assert.equal(next === undefined, found!.endOffset === ends[partition]);
            if (next !== undefined) assert.equal(next.firstOffset, found!.endOffset);
          }
        });
      }),
    );
  });
});

describe('the memory of the tail', () => {
  it('is given back, the oldest round first', () => {
    const memory = new SpareMemory(1_000_000);
    const tail = new Tail(250_000, memory);
    const segment = new TailSegment();
    const blocks = [0, 1, 2].map((index) => {
      const block = memory.take(100_000);
      tail.add(block, [{ segment, runs: [run(index, 1)] }]);
      return block;
    });
    assert.equal(segment.holds(0), false);
    assert.equal(memory.take(100_000), blocks[0]);
    assert.equal(memory.spareBytes, 0, 'only what was dropped');
  });
});

describe('read slots', () => {
  it('let so many run at once, and the others in the order they came', async () => {
    const slots = new ReadSlots(2);
    const started: number[] = [];
    const ends: ((fails: boolean) => void)[] = [];
    const reads = [0, 1, 2, 3, 4].map((index) =>
      slots.run(async () => {
        started.push(index);
        if (await new Promise<boolean>((resolve) => ends.push(resolve))) throw new Error(`read ${index}`);
        return index;
      }),
    );
    const outcomes = Promise.allSettled(reads);
    assert.deepEqual(started, [0, 1]);
    ends[1]!(true);
    await assert.rejects(reads[1]!, /read 1/);
    assert.deepEqual(started, [0, 1, 2], 'one that fails makes room too');
    for (const index of [0, 2]) {
      ends[index]!(false);
      assert.equal(await reads[index], index);
    }
    assert.deepEqual(started, [0, 1, 2, 3, 4]);
    ends[3]!(false);
    ends[4]!(false);
    assert.equal((await outcomes).filter(({ status }) => status === 'fulfilled').length, 4);
  });
});

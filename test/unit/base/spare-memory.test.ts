import assert from 'node:assert/strict';
import { SpareMemory, smallestSpareBlockBytes } from '../../../src/base/spare-memory.js';

describe('spare memory', () => {
  it('is used again: what fits, the newest first, and not by half too long', () => {
    const memory = new SpareMemory(2_000_000);
    const [first, second, long] = [100_000, 100_000, 1_000_000].map((bytes) => memory.take(bytes));
    assert(first!.byteLength >= 100_000 && first!.byteLength <= 112_500, `${first!.byteLength} bytes`);
    for (const block of [first!, second!, long!]) memory.giveBack(block);
    assert(memory.take(first!.byteLength + 1).byteLength > first!.byteLength);
    assert.equal(memory.take(90_000), second);
    assert.equal(memory.take(90_000), first);
    assert.notEqual(memory.take(90_000), long, 'its user would hold ten times what it counts');
    assert.equal(memory.take(900_000), long);
    assert.equal(memory.spareBytes, 0);
  });

  it('keeps no more than it may, the newest, and nothing small', () => {
    const memory = new SpareMemory(2_000_000);
    memory.giveBack(memory.take(smallestSpareBlockBytes - 1));
    assert.equal(memory.spareBytes, 0);
    memory.giveBack(memory.take(2_000_001));
    assert.equal(memory.spareBytes, 0);
    const blocks = [0, 1, 2].map(() => memory.take(900_000));
    for (const block of blocks) memory.giveBack(block);
    assert.equal(memory.spareBytes, blocks[1]!.byteLength + blocks[2]!.byteLength);
    assert.equal(memory.take(900_000), blocks[2]);
    assert.equal(memory.take(900_000), blocks[1]);
    assert.notEqual(memory.take(900_000), blocks[0], 'the oldest went');
  });
});

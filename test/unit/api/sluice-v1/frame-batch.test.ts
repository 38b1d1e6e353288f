import assert from 'node:assert/strict';
import fc from 'fast-check';
import { FrameBatch } from '../../../../src/api/sluice-v1/frame-batch.js';
import { KiB } from '../../../../src/base/units.js';
import { frame } from '../../../support/grpc-framing.js';

describe('FrameBatch', () => {
  it('puts a prefix before each message, whatever their sizes', () => {
    const message = fc.uint8Array({ maxLength: 40 * KiB }).map((bytes) => Buffer.from(bytes));
    const batch = new FrameBatch();
    fc.assert(
      fc.property(fc.array(message, { maxLength: 8, size: 'max' }), (messages) => {
        for (const each of messages) batch.add(each);
        assert.equal(batch.messageCount, messages.length);
        assert.deepEqual(batch.take(), Buffer.concat(messages.map((each) => Buffer.from(frame(each)))));
        assert.equal(batch.messageCount, 0);
      }),
    );
  });

  it('is full at some size, and empty once it is taken', () => {
    const batch = new FrameBatch();
    while (!batch.isFull) batch.add(Buffer.alloc(100));
    assert(batch.messageCount > 1);
    const taken = batch.take();
    const before = Buffer.from(taken);
    assert(!batch.isFull);
    batch.add(Buffer.alloc(100, 1));
    assert.deepEqual(taken, before);
  });
});

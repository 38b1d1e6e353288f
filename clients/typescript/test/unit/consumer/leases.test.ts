import assert from 'node:assert/strict';
import { heldRanges } from '#client/consumer/leases.js';
import { messagesOf } from './messages.js';

describe('heldRanges', () => {
  it('reach from the first to the last that is held, in each partition', () => {
    const some = messagesOf(['', '', '', '', ''], 3, 0);
    const others = messagesOf(['', ''], 8, 1);
    some[0]!.acknowledge();
    some[4]!.lose();
    assert.deepEqual(heldRanges([some[3]!, ...others, some[0]!, some[1]!, some[4]!]), [
      { partition: 0, first: 4, last: 6 },
      { partition: 1, first: 8, last: 9 },
    ]);
    assert.deepEqual(heldRanges([some[0]!]), []);
  });
});

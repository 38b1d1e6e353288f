import assert from 'node:assert/strict';
import { crc32c, findUnknownFragment, readLogRecords } from '../../../../src/storage/engine/engine-log.js';
import { block, blockBytes, first, flipped, fragment, full, last, middle } from './log-fragments.js';

function read(bytes: Buffer, isBeginning = true) {
  const { records, isDamaged, hasBadFragment } = readLogRecords(bytes, isBeginning);
  return { records: records.map(String), isDamaged, hasBadFragment };
}

const whole = (...records: string[]) => ({ records, isDamaged: false, hasBadFragment: false });
const damaged = (...records: string[]) => ({ records, isDamaged: true, hasBadFragment: false });
const broken = (...records: string[]) => ({ records, isDamaged: true, hasBadFragment: true });

describe('the log of the engine', () => {
  it('has the checksum of the format', () => {
    assert.equal(crc32c(Buffer.from('123456789')), 0xe3069283);
    assert.equal(crc32c(Buffer.from('x123456789y'), 1, 10), 0xe3069283);
  });

  it('joins fragments to records', () => {
    const bytes = [
      fragment(full, 'one'),
      fragment(first, 't'),
      fragment(middle, 'w'),
      fragment(last, 'o'),
      fragment(full, 'three'),
    ];
    assert.deepEqual(read(Buffer.concat(bytes)), whole('one', 'two', 'three'));
    assert.deepEqual(read(Buffer.alloc(0)), whole());
  });

  it('continues in the next block where the rest of one is zero', () => {
    const bytes = Buffer.concat([block(fragment(full, 'one'), fragment(first, 't')), fragment(last, 'wo')]);
    assert.deepEqual(read(bytes), whole('one', 'two'));
    const rest = Buffer.from(block(fragment(full, 'one')));
    rest[blockBytes - 1] = 1;
    assert.deepEqual(read(rest), damaged('one'));
  });

  it('finds a record that is cut off, or has no beginning', () => {
    assert.deepEqual(read(fragment(first, 't')), damaged());
    const again = Buffer.concat([fragment(first, 't'), fragment(full, 'one')]);
    assert.deepEqual(read(again), damaged('one'));
    const twice = Buffer.concat([1, 2].map(() => fragment(first, 't')).concat(fragment(last, 'wo')));
    assert.deepEqual(read(twice), damaged('two'));
    for (const type of [middle, last]) {
      assert.deepEqual(read(fragment(type, 'x')), damaged());
      assert.deepEqual(read(fragment(type, 'x'), false), whole(), 'its beginning was not read');
      const later = Buffer.concat([fragment(full, 'one'), fragment(type, 'x')]);
      assert.deepEqual(read(later, false), damaged('one'));
    }
  });

  it('skips what is damaged up to the next fragment', () => {
    const one = fragment(full, 'one');
    const three = fragment(full, 'three');
    assert.deepEqual(
      read(Buffer.concat([one, flipped(fragment(full, 'two')), three])),
      broken('one', 'three'),
    );
    const torn = flipped(fragment(middle, 'w'));
    const parts = [fragment(first, 't'), torn, fragment(last, 'o'), three];
    assert.deepEqual(read(Buffer.concat(parts)), broken('three'));
    const longer = Buffer.from(fragment(full, 'two'));
    longer.writeUInt16LE(60_000, 4);
    assert.deepEqual(
      read(Buffer.concat([longer, three])),
      damaged('three'),
      'it may be the cut end of the file',
    );
    assert.deepEqual(read(Buffer.concat([block(longer), three])), broken('three'));
  });

  it('takes a torn end for the end', () => {
    const one = fragment(full, 'one');
    const two = fragment(full, 'two');
    assert.deepEqual(read(Buffer.concat([one, two.subarray(0, -1)])), damaged('one'));
    assert.deepEqual(read(Buffer.concat([one, two.subarray(0, 6)])), whole('one'));
    assert.deepEqual(read(flipped(two)), broken());
  });

  it('passes over fragments of other types', () => {
    const bytes = Buffer.concat([fragment(9, 'hint'), fragment(last, 'x')]);
    assert.deepEqual(read(bytes, false), damaged(), 'the fragment before was read');
  });

  it('finds the first fragment of an unknown type', () => {
    const one = fragment(full, 'one');
    const strange = fragment(5, 'two');
    assert.equal(findUnknownFragment(Buffer.concat([one, fragment(last, 'x')])), undefined);
    assert.equal(findUnknownFragment(Buffer.concat([one, strange])), one.length);
    assert.equal(findUnknownFragment(Buffer.concat([block(one), strange])), blockBytes);
    assert.equal(findUnknownFragment(strange), 0);
    const longer = Buffer.from(one);
    longer.writeUInt16LE(60_000, 4);
    assert.equal(findUnknownFragment(Buffer.concat([longer, block(strange)])), undefined);
    assert.equal(findUnknownFragment(Buffer.alloc(2 * blockBytes)), undefined);
  });
});

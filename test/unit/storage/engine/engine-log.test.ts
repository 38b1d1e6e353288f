import assert from 'node:assert/strict';
import { crc32c, findUnknownFragment, readLogRecords } from '../../../../src/storage/engine/engine-log.js';

const blockBytes = 32 * 1024;

function fragment(type: number, data: Buffer): Buffer {
  const bytes = Buffer.alloc(7 + data.length);
  bytes.writeUInt16LE(data.length, 4);
  bytes.writeUInt8(type, 6);
  data.copy(bytes, 7);
  const crc = crc32c(bytes, 6);
  bytes.writeUInt32LE((((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0, 0);
  return bytes;
}

const [full, first, middle, last] = [1, 2, 3, 4];
const text = (value: string) => Buffer.from(value);

function read(bytes: Buffer, isBeginning = true) {
  const { records, isDamaged, hasBadFragment } = readLogRecords(bytes, isBeginning);
  return { records: records.map(String), isDamaged, hasBadFragment };
}

const whole = (...records: string[]) => ({ records, isDamaged: false, hasBadFragment: false });
const damaged = (...records: string[]) => ({ records, isDamaged: true, hasBadFragment: false });
const broken = (...records: string[]) => ({ records, isDamaged: true, hasBadFragment: true });

/** A fragment with one bit changed in its data. */
function flipped(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  copy[copy.length - 1]! ^= 1;
  return copy;
}

/** A block of these fragments, filled with zeros. */
function block(...fragments: Buffer[]): Buffer {
  return Buffer.concat([...fragments, Buffer.alloc(blockBytes)]).subarray(0, blockBytes);
}

describe('the log of the engine', () => {
  it('has the checksum of the format', () => {
    assert.equal(crc32c(text('123456789')), 0xe3069283);
    assert.equal(crc32c(text('x123456789y'), 1, 10), 0xe3069283);
  });

  it('joins fragments to records', () => {
    const bytes = [
      fragment(full!, text('one')),
      fragment(first!, text('t')),
      fragment(middle!, text('w')),
      fragment(last!, text('o')),
      fragment(full!, text('three')),
    ];
    assert.deepEqual(read(Buffer.concat(bytes)), whole('one', 'two', 'three'));
    assert.deepEqual(read(Buffer.alloc(0)), whole());
  });

  it('continues in the next block where the rest of one is zero', () => {
    const bytes = Buffer.concat([
      block(fragment(full!, text('one')), fragment(first!, text('t'))),
      fragment(last!, text('wo')),
    ]);
    assert.deepEqual(read(bytes), whole('one', 'two'));
    const rest = Buffer.from(block(fragment(full!, text('one'))));
    rest[blockBytes - 1] = 1;
    assert.deepEqual(read(rest), damaged('one'));
  });

  it('finds a record that is cut off, or has no beginning', () => {
    assert.deepEqual(read(fragment(first!, text('t'))), damaged());
    const again = Buffer.concat([fragment(first!, text('t')), fragment(full!, text('one'))]);
    assert.deepEqual(read(again), damaged('one'));
    const twice = Buffer.concat(
      [1, 2].map(() => fragment(first!, text('t'))).concat(fragment(last!, text('wo'))),
    );
    assert.deepEqual(read(twice), damaged('two'));
    for (const type of [middle!, last!]) {
      assert.deepEqual(read(fragment(type, text('x'))), damaged());
      assert.deepEqual(read(fragment(type, text('x')), false), whole(), 'its beginning was not read');
      const later = Buffer.concat([fragment(full!, text('one')), fragment(type, text('x'))]);
      assert.deepEqual(read(later, false), damaged('one'));
    }
  });

  it('skips what is damaged up to the next fragment', () => {
    const one = fragment(full!, text('one'));
    const three = fragment(full!, text('three'));
    assert.deepEqual(
      read(Buffer.concat([one, flipped(fragment(full!, text('two'))), three])),
      broken('one', 'three'),
    );
    const torn = flipped(fragment(middle!, text('w')));
    const parts = [fragment(first!, text('t')), torn, fragment(last!, text('o')), three];
    assert.deepEqual(read(Buffer.concat(parts)), broken('three'));
    const longer = Buffer.from(fragment(full!, text('two')));
    longer.writeUInt16LE(60_000, 4);
    assert.deepEqual(
      read(Buffer.concat([longer, three])),
      damaged('three'),
      'it may be the cut end of the file',
    );
    assert.deepEqual(read(Buffer.concat([block(longer), three])), broken('three'));
  });

  it('takes a torn end for the end', () => {
    const one = fragment(full!, text('one'));
    const two = fragment(full!, text('two'));
    assert.deepEqual(read(Buffer.concat([one, two.subarray(0, -1)])), damaged('one'));
    assert.deepEqual(read(Buffer.concat([one, two.subarray(0, 6)])), whole('one'));
    assert.deepEqual(read(flipped(two)), broken());
  });

  it('passes over fragments of other types', () => {
    const bytes = Buffer.concat([fragment(9, text('hint')), fragment(last!, text('x'))]);
    assert.deepEqual(read(bytes, false), damaged(), 'the fragment before was read');
  });

  it('finds the first fragment of an unknown type', () => {
    const one = fragment(full!, text('one'));
    const strange = fragment(5, text('two'));
    assert.equal(findUnknownFragment(Buffer.concat([one, fragment(last!, text('x'))])), undefined);
    assert.equal(findUnknownFragment(Buffer.concat([one, strange])), one.length);
    assert.equal(findUnknownFragment(Buffer.concat([block(one), strange])), blockBytes);
    assert.equal(findUnknownFragment(strange), 0);
    const longer = Buffer.from(one);
    longer.writeUInt16LE(60_000, 4);
    assert.equal(findUnknownFragment(Buffer.concat([longer, block(strange)])), undefined);
    assert.equal(findUnknownFragment(Buffer.alloc(2 * blockBytes)), undefined);
  });
});

import assert from 'node:assert/strict';
import { readManifest } from '../../../../src/storage/engine/manifest.js';
import { edit, flipped, fragment, full } from './log-fragments.js';

const required = edit(2, 7, 3, 20, 4, 99);
const internal = (key: string) => `${key}12345678`;

/** A table of a column family, with a custom field. */
const table = (column: number, number: number, byteLength: number, from: string, to: string) =>
  edit(200, column, 103, 0, number, byteLength, internal(from), internal(to), 5, 6, 2, 'custom', 1);

const read = (...edits: Buffer[]) => readManifest(Buffer.concat(edits));

describe('the manifest', () => {
  it('names column families and tables, as the last edit left them', () => {
    const manifest = read(
      edit(1, 'leveldb.BytewiseComparator', 2, 7, 3, 20, 4, 99),
      edit(200, 1, 201, 'partition-000', 203, 5),
      edit(200, 2, 201, 'cursors'),
      edit(200, 2, 202),
      table(1, 11, 300, 'a', 'z'),
      table(0, 12, 70_000, 'b', 'c'),
      table(1, 13, 1, 'd', 'd'),
      edit(200, 1, 6, 2, 13),
    );
    assert.deepEqual(
      [...manifest!.columns],
      [
        [0, 'default'],
        [1, 'partition-000'],
      ],
    );
    assert.deepEqual(
      [...manifest!.tables],
      [
        [11, { column: 1, byteLength: 300, smallestKey: Buffer.from('a'), largestKey: Buffer.from('z') }],
        [12, { column: 0, byteLength: 70_000, smallestKey: Buffer.from('b'), largestKey: Buffer.from('c') }],
      ],
    );
    assert.equal(manifest!.isComplete, true);
  });

  it('tells which logs are needed: the lowest number of a column family, or a higher one that it names', () => {
    const columns = [edit(200, 1, 201, 'one', 2, 9), edit(200, 2, 201, 'two', 2, 8)];
    const numbers = (...edits: Buffer[]) => {
      const manifest = read(required, ...edits);
      return [manifest?.logNumberOfColumns, manifest?.oldestLogNumber];
    };
    assert.deepEqual(numbers(), [7, 7]);
    assert.deepEqual(numbers(...columns), [7, 7]);
    assert.deepEqual(numbers(...columns, edit(2, 10)), [8, 8]);
    assert.deepEqual(numbers(...columns, edit(2, 10), edit(10, 9)), [8, 9]);
    assert.deepEqual(numbers(...columns, edit(2, 10), edit(10, 9), edit(10, 4)), [8, 9]);
    assert.deepEqual(numbers(...columns, edit(2, 10), edit(200, 2, 202)), [9, 9]);
    assert.deepEqual(numbers(edit(200, 3, 201, 'three')), [0, 0], 'no number is the lowest');
  });

  it('is complete with all required fields and no bad fragment', () => {
    assert.equal(read(required)?.isComplete, true);
    for (const fields of [
      [2, 7, 3, 20],
      [2, 7, 4, 99],
      [3, 20, 4, 99],
    ]) {
      assert.equal(read(edit(...fields))?.isComplete, false);
    }
    assert.equal(read(required, flipped(edit(2, 8)), edit(2, 9))?.isComplete, false);
    assert.equal(read()?.isComplete, false);
  });

  it('skips fields that it knows and does not keep, and unknown ones that may be skipped', () => {
    const unknown = (1 << 13) | 5;
    const manifest = read(required, edit(5, 1, 'key', 9, 1, 203, 4, 300, 2, unknown, 'anything', 2, 12));
    assert.equal(manifest?.logNumberOfColumns, 12);
  });

  it('is not readable with unknown fields, or where an edit is cut off', () => {
    assert.equal(read(required, edit(77, 1)), undefined);
    assert.equal(read(required, fragment(full, Buffer.of(2, 0x80))), undefined);
    assert.equal(read(required, fragment(full, Buffer.from([1, 9, 0x61]))), undefined);
    assert.equal(read(required, fragment(full, Buffer.of(2))), undefined);
  });
});

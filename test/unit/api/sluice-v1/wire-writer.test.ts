import assert from 'node:assert/strict';
import { BinaryReader, BinaryWriter } from '@bufbuild/protobuf/wire';
import fc from 'fast-check';
import { varintBytes, WireWriter } from '../../../../src/api/sluice-v1/wire-writer.js';

const edges = [
  0,
  1,
  127,
  128,
  16_383,
  16_384,
  2 ** 21 - 1,
  2 ** 21,
  2 ** 28 - 1,
  2 ** 28,
  2 ** 31 - 1,
  2 ** 31,
];
const safeInteger = fc.oneof(
  fc.constantFrom(...edges, 2 ** 32 - 1, 2 ** 32, 2 ** 35 - 1, 2 ** 35, 2 ** 49, Number.MAX_SAFE_INTEGER),
  fc.maxSafeNat(),
);

describe('WireWriter', () => {
  it('writes varints as every decoder reads them, in the bytes it said', () => {
    fc.assert(
      fc.property(safeInteger, (value) => {
        const writer = new WireWriter();
        writer.begin(10);
        writer.varint(value);
        const bytes = writer.finish();
        assert.equal(varintBytes(value), bytes.length);
        assert.deepEqual([...bytes], [...new BinaryWriter().uint64(value).finish()]);
      }),
      { numRuns: 2000 },
    );
  });

  it('writes 64-bit numbers in halves', () => {
    fc.assert(
      fc.property(fc.bigInt(0n, 2n ** 64n - 1n), (value) => {
        const writer = new WireWriter();
        writer.begin(10);
        writer.varint64(Number(value & 0xffff_ffffn), Number(value >> 32n));
        assert.equal(BigInt(new BinaryReader(writer.finish()).uint64()), value);
      }),
    );
  });

  it('leaves out what proto3 leaves out', () => {
    const writer = new WireWriter();
    writer.begin(10);
    writer.numberField(0x08, 0);
    writer.textField(0x12, '', 0);
    assert.equal(writer.finish().length, 0);
  });

  it('grows, and begins again where it began', () => {
    const writer = new WireWriter();
    const large = new Uint8Array(300_000).fill(7);
    writer.begin(large.length);
    writer.copy(large, 0, large.length);
    assert.deepEqual(new Uint8Array(writer.finish()), large);
    writer.begin(1);
    writer.byte(1);
    assert.deepEqual([...writer.finish()], [1]);
  });
});

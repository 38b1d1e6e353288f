import assert from 'node:assert/strict';
import { create, fromBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { ReceiptSum } from '../../../../src/api/sluice-v1/receipt-sum.js';
import { encodeReceipt, encodeRefusal } from '../../../../src/api/sluice-v1/receipts.js';
import { SluiceError } from '../../../../src/base/errors.js';
import { limits } from '../../../../src/base/limits.js';
import { StatusCode } from '../../../../src/base/reasons.js';
import { PublishStreamResponseSchema } from '../../../../src/gen/sluice/v1/broker_pb.js';
import { Durability } from '../../../../src/gen/sluice/v1/message_pb.js';

const half = fc.nat(0xffff_ffff);

describe('encodeReceipt', () => {
  it('writes what a decoder reads', () => {
    const range = fc.record({ partition: fc.nat(15), first: fc.maxSafeNat(), last: fc.maxSafeNat() });
    fc.assert(
      fc.property(
        fc.record({ low: half, high: half }),
        fc.maxSafeNat(),
        fc.nat(),
        fc.array(range, { maxLength: 20 }),
        (batchId, messageCount, duplicateCount, ranges) => {
          const receipt = { messageCount, duplicateCount, ranges, durability: 'synced' } as const;
          assert.deepEqual(
            fromBinary(PublishStreamResponseSchema, encodeReceipt(batchId, receipt)),
            create(PublishStreamResponseSchema, {
              batchId: (BigInt(batchId.high) << 32n) | BigInt(batchId.low),
              messageCount: BigInt(messageCount),
              duplicateCount: BigInt(duplicateCount),
              ranges: ranges.map(({ partition, first, last }) => ({
                partition,
                firstOffset: BigInt(first),
                lastOffset: BigInt(last),
              })),
              durability: Durability.SYNCED,
            }),
          );
        },
      ),
    );
  });
});

describe('encodeRefusal', () => {
  it('says code, reason and text, in any script', () => {
    const error = new SluiceError('TOPIC_NOT_FOUND', 'kein Thema „größer“ 💥');
    const bytes = encodeRefusal({ low: 7, high: 0 }, error);
    assert.deepEqual(
      fromBinary(PublishStreamResponseSchema, bytes),
      create(PublishStreamResponseSchema, {
        batchId: 7n,
        error: { code: StatusCode.NOT_FOUND, message: error.message, reason: 'TOPIC_NOT_FOUND' },
      }),
    );
  });

  it('bounds the text', () => {
    const bytes = encodeRefusal({ low: 0, high: 0 }, new SluiceError('INTERNAL', 'ß'.repeat(5000)));
    const { error } = fromBinary(PublishStreamResponseSchema, bytes);
    assert.equal(error?.message, 'ß'.repeat(limits.maxErrorTextLength));
  });
});

describe('ReceiptSum', () => {
  const receipt = (partition: number, first: number, last: number) =>
    ({
      messageCount: last - first + 1,
      duplicateCount: 0,
      ranges: [{ partition, first, last }],
      durability: 'synced',
    }) as const;

  it('merges what touches, in order of partition and offset', () => {
    const sum = new ReceiptSum();
    for (const part of [
      receipt(2, 10, 12),
      receipt(0, 5, 6),
      receipt(2, 13, 20),
      receipt(0, 1, 4),
      receipt(0, 9, 9),
    ]) {
      sum.add(part);
    }
    assert.deepEqual(sum.total(), {
      messageCount: 18n,
      duplicateCount: 0n,
      ranges: [
        { partition: 0, firstOffset: 1n, lastOffset: 6n },
        { partition: 0, firstOffset: 9n, lastOffset: 9n },
        { partition: 2, firstOffset: 10n, lastOffset: 20n },
      ],
      durability: Durability.SYNCED,
    });
  });

  it('promises no more than its weakest part', () => {
    const sum = new ReceiptSum();
    sum.add({ ...receipt(0, 1, 1), durability: 'written' });
    sum.add(receipt(0, 2, 2));
    assert.equal(sum.total().durability, Durability.WRITTEN);
  });

  it('gives up the ranges of a stream in too many pieces, and nothing else', () => {
    const sum = new ReceiptSum();
    for (let i = 0; i <= limits.maxRangesPerResponse; i++) sum.add(receipt(0, 2 * i, 2 * i));
    assert.deepEqual(sum.total().ranges, []);
    assert.equal(sum.total().messageCount, BigInt(limits.maxRangesPerResponse + 1));
  });
});

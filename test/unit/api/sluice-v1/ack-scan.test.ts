import assert from 'node:assert/strict';
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { scanAcks } from '../../../../src/api/sluice-v1/ack-scan.js';
import { toLastDeliveryId, toSettlements } from '../../../../src/api/sluice-v1/convert-session.js';
import { limits } from '../../../../src/base/limits.js';
import { ConsumeRequestSchema, type SettlementSchema } from '../../../../src/gen/sluice/v1/broker_pb.js';

type SettlementInit = MessageInitShape<typeof SettlementSchema>;

const encode = (init: MessageInitShape<typeof ConsumeRequestSchema>): Uint8Array =>
  toBinary(ConsumeRequestSchema, create(ConsumeRequestSchema, init));

const acked = (firstOffset: bigint, lastOffset = firstOffset, partition = 0): SettlementInit => ({
  offsets: { partition, firstOffset, lastOffset },
  outcome: { case: 'ack', value: {} },
});

describe('scanAcks', () => {
  it('reads what the full conversion reads', () => {
    const number = fc.oneof(fc.nat(300), fc.maxSafeNat());
    const request = fc.record({
      settlementId: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      lastDeliveryId: fc.oneof(fc.constant(0n), fc.maxSafeNat().map(BigInt)),
      ranges: fc.array(fc.record({ partition: fc.nat(), first: number, length: fc.nat(5) }), {
        minLength: 1,
      }),
    });
    fc.assert(
      fc.property(request, ({ settlementId, lastDeliveryId, ranges }) => {
        const settlements = ranges.map(({ partition, first, length }) => {
          const last = Math.min(Number.MAX_SAFE_INTEGER, first + length);
          return acked(BigInt(first), BigInt(last), partition);
        });
        const init = { settlementId, lastDeliveryId, settlements };
        const decoded = toSettlements(create(ConsumeRequestSchema, init).settlements);
        assert.deepEqual(scanAcks(encode(init)), {
          settlementId,
          settlements: decoded,
          lastDeliveryId: toLastDeliveryId(lastDeliveryId),
        });
      }),
    );
  });

  it('leaves every other request to the full conversion', () => {
    const offsets = { partition: 0, firstOffset: 1n, lastOffset: 2n };
    const others: MessageInitShape<typeof ConsumeRequestSchema>[] = [
      {},
      { settlementId: 1n },
      { flowControl: {} },
      { subscribe: { topic: 't' }, settlements: [acked(1n)] },
      { settlements: [acked(1n)], flowControl: { maxOutstandingMessages: 1 } },
      { settlements: [acked(1n), { offsets, outcome: { case: 'nack', value: { reason: 'bad' } } }] },
      { settlements: [{ offsets, outcome: { case: 'extend', value: {} } }] },
      { settlements: [{ offsets, outcome: { case: 'deadLetter', value: {} } }] },
      { settlements: [{ offsets }] },
      { settlements: [{ outcome: { case: 'ack', value: {} } }] },
      { settlements: [acked(2n, 1n)] },
      { settlements: [acked(1n, 2n ** 53n)] },
      { settlements: [acked(1n)], lastDeliveryId: 2n ** 53n },
      { settlements: Array.from({ length: limits.maxSettlementsPerRequest + 1 }, () => acked(1n)) },
    ];
    for (const [i, other] of others.entries())
      assert.equal(scanAcks(encode(other)), undefined, `request ${i}`);
  });

  it('leaves every request that is cut off to the full conversion', () => {
    const whole = encode({ settlements: [acked(300n, 400n, 3)] });
    for (let length = 0; length < whole.length; length += 1) {
      assert.equal(scanAcks(whole.subarray(0, length)), undefined, `${length} bytes`);
    }
    assert.notEqual(scanAcks(whole), undefined);
  });
});

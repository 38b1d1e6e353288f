import assert from 'node:assert/strict';
import type { SluiceError } from '../../../../src/base/errors.js';
import { RequestDecoder } from '../../../../src/transport/grpc/request-decoder.js';
import { frame } from '../../../support/grpc-framing.js';

describe('the decoder of requests', () => {
  const setup = (hasOneRequest: boolean) => {
    const reserved: number[] = [];
    const refusals: SluiceError[] = [];
    let completeCount = 0;
    const decoder = new RequestDecoder({
      maxBytes: 10,
      hasOneRequest,
      reserve: (bytes) => reserved.push(bytes),
      handedOver: () => completeCount++,
      refuse: (error) => refusals.push(error),
    });
    return { decoder, reserved, refusals, completeCount: () => completeCount };
  };
  const body = Buffer.from('0123456789');
  const framed = Buffer.from(frame(body));

  for (let size = 1; size <= 16; size++) {
    it(`puts requests together from parts of ${size} bytes`, () => {
      const { decoder, reserved, refusals, completeCount } = setup(false);
      const bytes = Buffer.concat([framed, frame(Buffer.alloc(0)), framed]);
      const requests: Buffer[] = [];
      for (let at = 0; at < bytes.length; at += size) {
        requests.push(...decoder.write(bytes.subarray(at, at + size)));
      }
      assert.deepEqual(requests, [framed, Buffer.alloc(5), framed]);
      assert.deepEqual([reserved, refusals, completeCount()], [[10, 0, 10], [], 3]);
    });
  }

  it('keeps no view of what it was given', () => {
    const { decoder } = setup(true);
    const part = Buffer.from(framed.subarray(0, 8));
    decoder.write(part);
    part.fill(0);
    assert.deepEqual(decoder.write(Buffer.from(framed.subarray(8))), [framed]);
  });

  it('refuses a longer request by its length, once, and reserves nothing for it', () => {
    const { decoder, reserved, refusals } = setup(true);
    const head = Buffer.from(frame(Buffer.alloc(11)));
    assert.deepEqual(decoder.write(head.subarray(0, 5)), []);
    assert.deepEqual(decoder.write(head.subarray(5)), []);
    assert.deepEqual(decoder.write(framed), []);
    assert.deepEqual(
      refusals.map(({ reason }) => reason),
      ['REQUEST_TOO_LARGE'],
    );
    assert.deepEqual(reserved, []);
  });

  it('refuses a second request where there is to be one', () => {
    const { decoder, refusals } = setup(true);
    assert.deepEqual(decoder.write(framed), [framed]);
    assert.deepEqual(decoder.write(Buffer.from([0])), []);
    assert.deepEqual(
      refusals.map(({ reason }) => reason),
      ['MALFORMED_REQUEST'],
    );
  });
});

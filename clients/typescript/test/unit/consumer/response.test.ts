import assert from 'node:assert/strict';
import { create, toBinary } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { ConsumeResponseSchema } from '@sluice/client/api';
import fc from 'fast-check';
import { HeldMessage } from '#client/consumer/held-message.js';
import { isIn, readResponse } from '#client/consumer/response.js';
import { runOf, TestLender } from './messages.js';

describe('reading responses', () => {
  it('finds what a consumer has to know', () => {
    const ranges = [{ partition: 2, firstOffset: 5n, lastOffset: 2n ** 40n }];
    const bytes = toBinary(
      ConsumeResponseSchema,
      create(ConsumeResponseSchema, {
        opened: { sessionId: 'one', ackDeadline: durationFromMs(1_500) },
        assignment: { partitions: [1, 2] },
        heartbeat: { backlogMessageCount: 2n ** 60n, time: { seconds: 1n } },
        settled: { settlementId: 300n, result: { settledCount: 2n, stale: ranges } },
        revoked: ranges,
      }),
    );
    const { opened, revoked, settled, runs } = readResponse(Buffer.from(bytes));
    assert.equal(opened?.sessionId, 'one');
    const range = { partition: 2, first: 5, last: 2 ** 40 };
    assert.deepEqual(revoked, [range]);
    assert.deepEqual(settled, { id: 300, stale: [range] });
    assert.deepEqual(runs, []);
    assert(isIn(revoked, 2, 5) && isIn(revoked, 2, 2 ** 40) && !isIn(revoked, 2, 4) && !isIn(revoked, 1, 5));
  });

  it('finds the messages of a run, and decodes them as the generated code encoded them', () => {
    const text = fc.string({ unit: 'binary' }).map((value) => Buffer.from(value).toString());
    const message = fc.record({
      key: fc.uint8Array(),
      payload: fc.uint8Array({ maxLength: 300 }),
      headers: fc.dictionary(text, text),
      eventTime: fc.option(
        fc.record({
          seconds: fc.bigInt({ min: -(10n ** 10n), max: 10n ** 10n }),
          nanos: fc.nat(999_999_999),
        }),
        { nil: undefined },
      ),
    });
    fc.assert(
      fc.property(fc.array(message, { maxLength: 10 }), fc.nat(), (messages, firstOffset) => {
        const run = runOf({
          partition: 3,
          firstOffset: BigInt(firstOffset),
          attempt: 2,
          producerId: 'till-4',
          publishTime: { seconds: 1_700_000_000n, nanos: 123_000_000 },
          messages: messages.map(({ eventTime, ...rest }) => ({
            ...(rest as { headers: Record<string, string> }),
            ...(eventTime !== undefined && { eventTime }),
          })),
        });
        assert.equal(run.bounds.length, 2 * messages.length);
        for (const [i, { key, payload, headers, eventTime }] of messages.entries()) {
          const held = new HeldMessage(new TestLender(), run, firstOffset + i);
          assert.equal(held.offset, BigInt(firstOffset + i));
          assert.deepEqual(
            [held.topic, held.partition, held.attempt, held.producerId],
            ['orders', 3, 2, 'till-4'],
          );
          assert.equal(held.publishTime.getTime(), 1_700_000_000_123);
          assert(held.key.equals(key) && held.payload.equals(payload));
          assert.deepEqual(Object.entries(held.headers).sort(), Object.entries(headers).sort());
          assert.equal(held.eventTimestamp?.seconds, eventTime?.seconds);
          assert.equal(held.eventTimestamp?.nanos, eventTime?.nanos);
          const ms = eventTime && Number(eventTime.seconds) * 1_000 + Math.floor(eventTime.nanos / 1e6);
          assert.equal(held.eventTime?.getTime(), ms);
        }
      }),
    );
  });

  it('steps over what a newer broker adds, and refuses what is no message', () => {
    const added = Buffer.from([
      0xf8, 0x07, 0xac, 0x02, 0xfa, 0x07, 2, 1, 2, 0xf9, 0x07, 1, 2, 3, 4, 5, 6, 7, 8,
    ]);
    const fixed32 = Buffer.from([0xfd, 0x07, 1, 2, 3, 4]);
    const known = Buffer.from(
      toBinary(ConsumeResponseSchema, create(ConsumeResponseSchema, { runs: [{ partition: 9 }] })),
    );
    assert.equal(readResponse(Buffer.concat([added, fixed32, known])).runs[0]?.partition, 9);
    for (const broken of [[0x12, 0x05, 1], [0x13], [0xf8]]) {
      assert.throws(() => readResponse(Buffer.from(broken)), { reason: 'MALFORMED_RESPONSE' });
    }
  });
});

describe('HeldMessage', () => {
  it('lets what was done first count', async () => {
    const lender = new TestLender();
    const run = runOf({ firstOffset: 4n, messages: [{}] });
    const held = new HeldMessage(lender, run, 4);
    assert.equal(await held.extend(1_000), true);
    assert.equal(await held.nack({ delayMs: 7, reason: 'why' }), true);
    assert.equal(await held.ack(), false);
    assert.equal(await held.deadLetter(), false);
    assert.equal(await held.extend(1_000), false);
    held.acknowledge();
    assert.deepEqual(lender.outcomes, [
      { offset: 4, outcome: { kind: 'extend', byMs: 1_000 } },
      { offset: 4, outcome: { kind: 'nack', delayMs: 7, reason: 'why' } },
    ]);
    assert.equal(held.signal.aborted, false);
  });

  it('tells who has it when it is lost, and does nothing afterwards', async () => {
    const lender = new TestLender();
    const run = runOf({ messages: [{}, {}] });
    const [watched, unwatched] = [new HeldMessage(lender, run, 0), new HeldMessage(lender, run, 1)];
    const { signal } = watched;
    watched.lose();
    unwatched.lose();
    assert.equal(signal.aborted, true);
    assert.equal(signal.reason.reason, 'LEASE_LOST');
    assert.equal(unwatched.signal.aborted, true);
    assert.equal(await watched.ack(), false);
    unwatched.acknowledge();
    assert.deepEqual(lender.outcomes, []);
  });

  it('refuses times that are none', async () => {
    const held = new HeldMessage(new TestLender(), runOf({ messages: [{}] }), 0);
    for (const wrong of [-1, Number.NaN]) {
      await assert.rejects(held.nack({ delayMs: wrong }), { reason: 'INVALID_FIELD' });
      await assert.rejects(held.extend(wrong), { reason: 'INVALID_FIELD' });
    }
  });
});

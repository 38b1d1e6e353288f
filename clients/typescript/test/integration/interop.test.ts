import assert from 'node:assert/strict';
import { connect, Producer, type SluiceClient } from '@sluice/client';
import type { Message } from '@sluice/client/api';
import { useBroker } from '../../../../test/support/broker-process.js';
import { type CaseMessage, readCases } from '../../interop/cases.js';

describe('the TypeScript client carries unchanged', () => {
  const broker = useBroker();
  let client: SluiceClient;
  before(() => {
    client = connect(broker.address);
  });
  after(() => client.close());

  for (const { name, partitionCount, messages } of readCases()) {
    it(`the messages of case "${name}"`, async () => {
      await client.admin.createTopic({ topic: { name, partitionCount } });
      const producer = await Producer.open(client, { topic: name });
      const sending = [];
      for (const { key, payload, headers, eventTime } of messages) {
        const sent = producer.send({
          key,
          payload,
          headers,
          ...(eventTime !== undefined && { eventTime }),
        });
        sending.push(sent);
      }
      const receipts = await Promise.all(sending);
      await producer.close();
      const stored = await storedMessages(client, name);
      assert.equal(stored.size, messages.length);
      const lastOffsets = new Map<string, bigint>();
      for (const [i, { partition, offset }] of receipts.entries()) {
        const expected = messages[i]!;
        assertSame(stored.get(`${partition}/${offset}`), expected);
        const key = expected.key.toString('hex');
        assert(offset! > (lastOffsets.get(key) ?? -1n), 'a key is out of order');
        lastOffsets.set(key, offset!);
      }
    }).timeout(120_000);
  }
});

function assertSame(found: Message | undefined, expected: CaseMessage): void {
  assert(found !== undefined, 'there is no message where the receipt says');
  assert(expected.key.equals(found.key), 'another key');
  assert(expected.payload.equals(found.payload), 'another payload');
  assert.deepEqual(found.headers, expected.headers);
  const time = found.eventTime && { seconds: found.eventTime.seconds, nanos: found.eventTime.nanos };
  assert.deepEqual(time, expected.eventTime);
}

/** All messages of a topic, by `partition/offset`. */
async function storedMessages(client: SluiceClient, topic: string): Promise<Map<string, Message>> {
  const stored = new Map<string, Message>();
  for await (const { runs } of client.broker.read({ topic })) {
    for (const run of runs) {
      for (const [i, message] of run.messages.entries()) {
        stored.set(`${run.partition}/${run.firstOffset + BigInt(i)}`, message);
      }
    }
  }
  return stored;
}

import assert from 'node:assert/strict';
import { create, toBinary } from '@bufbuild/protobuf';
import { DeadLetterScan } from '../../../src/broker/dead-letters/dead-letter-scan.js';
import { readMessage } from '../../../src/broker/reading/read-message.js';
import type { Topic } from '../../../src/broker/topics/topic.js';
import { deadLetterHeaders } from '../../../src/envelope/dead-letter-origin.js';
import { PublishRequestSchema } from '../../../src/gen/sluice/v1/broker_pb.js';
import type { Storage } from '../../../src/storage/types.js';
import { append, closeAll, commit, createHarness, createTopic, payloads, topicConfig } from './harness.js';

const large = 'x'.repeat(200_000);

/** So many rounds that the memory of everything before is in use for another. */
async function useMemoryAgain(storage: Storage, topicId: number): Promise<void> {
  const kept = storage.openReader(topicId, 0).read(0, 1);
  assert(Array.isArray(kept), 'the tail has it');
  for (let round = 0; round < 10 && kept[0]!.messages.length > 0; round++) {
    await commit(storage, { appends: [append(topicId, 0, [large])] });
  }
  assert.equal(kept[0]!.messages.length, 0);
}

describe('storage: messages that are kept for longer than a turn', () => {
  afterEach(closeAll);

  async function open() {
    const { storage } = await createHarness({ tailBytes: 512 * 1024 });
    const topicId = await createTopic(storage, 'orders');
    return { storage, topicId, topic: { topicId, name: 'orders', config: topicConfig('orders') } as Topic };
  }

  it('one that was looked up is a copy', async () => {
    const { storage, topicId, topic } = await open();
    await commit(storage, { appends: [append(topicId, 0, ['first', 'second', large])] });
    const { run, from, to } = await readMessage(storage, topic, 0, 1);
    await useMemoryAgain(storage, topicId);
    assert.deepEqual({ offset: run.firstOffset + from, count: to - from }, { offset: 1, count: 1 });
    assert.deepEqual(payloads([run]), ['second']);
  });

  it('dead letters that wait to be sent back are copies', async () => {
    const { storage, topicId, topic } = await open();
    const headers = {
      [deadLetterHeaders.topic]: 'origin',
      [deadLetterHeaders.subscription]: 's',
      [deadLetterHeaders.partition]: '0',
    };
    const message = { headers, payload: Buffer.from(large) };
    const entry = toBinary(PublishRequestSchema, create(PublishRequestSchema, { messages: [message] }));
    const deadLetter = {
      topicId,
      partition: 0,
      producerId: '',
      chunks: [entry],
      count: 1,
      byteLength: entry.length,
    };
    await commit(storage, { appends: [deadLetter] });
    const range = { partition: 0, next: 0, end: 1 };
    const owner = { topic: 'origin', subscription: 's', subscriptionId: 1, createTimeMs: 0 };
    const scan = new DeadLetterScan(storage, topic, range, owner);
    const page = await scan.next();
    scan.close();
    await useMemoryAgain(storage, topicId);
    assert.equal(page?.deadLetters.length, 1);
    assert(Buffer.from(page.deadLetters[0]!.entry).equals(entry));
  });
});

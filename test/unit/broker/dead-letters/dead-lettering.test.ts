import assert from 'node:assert/strict';
import { SluiceError } from '../../../../src/base/errors.js';
import { limits } from '../../../../src/base/limits.js';
import type { SubscriptionConfig } from '../../../../src/base/model.js';
import type { DeadLetterBuilder } from '../../../../src/broker/dead-letters/dead-letter-builder.js';
import { DeadLettering } from '../../../../src/broker/dead-letters/dead-lettering.js';
import type { Topic } from '../../../../src/broker/topics/topic.js';
import type { DeadLetterRequest } from '../../../../src/core/types.js';
import { append } from '../../../integration/storage/harness.js';

const config = {} as SubscriptionConfig;
const unreadable = new SluiceError('DATA_LOSS', 'damaged');

function request(offset: number, partition = 0): DeadLetterRequest {
  return { partition, offset, attempts: 3, reason: 'failed' };
}

/** Dead letters go to partition 0 of topic 9 if their offset is even, to partition 1 otherwise. */
function setup(refuses: (request: DeadLetterRequest) => boolean = () => false) {
  const topic = { isDeleted: false, firstOffset: () => 2 };
  const asked: number[][] = [];
  let most = Number.POSITIVE_INFINITY;
  const builder: Pick<DeadLetterBuilder, 'read' | 'address'> = {
    read: async (_topic, _id, _config, requests) => {
      asked.push(requests.map(({ offset }) => offset));
      return requests
        .slice(0, most)
        .map((each) => (refuses(each) ? unreadable : Buffer.from(`${each.offset}`)));
    },
    address: (_config, deadLetters) =>
      deadLetters.map((bytes) => append(9, Number(`${bytes}`) % 2, [`${bytes}`])),
  };
  const lettering = new DeadLettering(builder as DeadLetterBuilder, topic as unknown as Topic, 4);
  const answers: unknown[] = [];
  const add = (...requests: DeadLetterRequest[]) =>
    void lettering.add(requests).then(
      () => answers.push('done'),
      (error) => answers.push(error),
    );
  const nextBatch = async () => lettering.takeBatch(config, await lettering.read(config));
  return { lettering, nextBatch, topic, asked, add, answers, take: (count: number) => (most = count) };
}

const settled = () => new Promise(setImmediate);

describe('dead-lettering', () => {
  it('joins the dead letters of a partition in the order of the requests, and notes each message', async () => {
    const { lettering, nextBatch, add } = setup();
    assert.equal(lettering.hasWaiting, false);
    add(request(4), request(6, 1), request(5));
    assert.equal(lettering.hasWaiting, true);
    const batch = await nextBatch();
    const note = (offset: number, partition: number) => ({
      kind: 'dead-letter',
      subscriptionId: 4,
      partition,
      offset,
      attempts: 3,
    });
    const { kind, topicId, partition, producerId, chunks, count, byteLength } = append(9, 0, ['4', '6']);
    assert.deepEqual(batch.changes, [
      { kind, topicId, partition, producerId, chunks, count, byteLength },
      append(9, 1, ['5']),
      note(4, 0),
      note(6, 1),
      note(5, 0),
    ]);
    assert.deepEqual(batch.partitions, [0, 1]);
    assert.deepEqual(batch.refused, []);
    assert.equal(lettering.hasWaiting, false);
  });

  it('answers a call when the last of its messages is durable', async () => {
    const { lettering, nextBatch, add, answers, take } = setup();
    add(request(4), request(5));
    add(request(6));
    take(1);
    const first = await nextBatch();
    assert.equal(lettering.hasWaiting, true);
    first.answerAccepted(undefined);
    await settled();
    assert.deepEqual(answers, []);
    take(9);
    (await nextBatch()).answerAccepted(undefined);
    await settled();
    assert.deepEqual(answers, ['done', 'done']);
  });

  it('answers with the first failure, once everything of the call has ended', async () => {
    const { nextBatch, add, answers, take } = setup(({ offset }) => offset === 5);
    add(request(4), request(5), request(7));
    take(2);
    const batch = await nextBatch();
    assert.deepEqual(
      batch.accepted.map(({ offset }) => offset),
      [4],
    );
    assert.deepEqual(batch.refused, [{ request: request(5), error: unreadable, isRemoved: false }]);
    batch.answerRefused();
    batch.answerAccepted(undefined);
    await settled();
    assert.deepEqual(answers, []);
    (await nextBatch()).answerAccepted(new Error('disk'));
    await settled();
    assert.deepEqual(answers, [unreadable]);
    add(request(8));
    (await nextBatch()).answerAccepted('failed');
    await settled();
    assert.deepEqual(answers.slice(1), ['failed']);
  });

  it('does not count a message as failed that retention has removed, or whose topic was deleted', async () => {
    const { nextBatch, add, answers, topic } = setup(() => true);
    add(request(1), request(2));
    const batch = await nextBatch();
    assert.deepEqual(
      batch.refused.map(({ isRemoved }) => isRemoved),
      [true, false],
    );
    assert.deepEqual(batch.changes, []);
    add(request(1));
    topic.isDeleted = true;
    add(request(7));
    const second = await nextBatch();
    assert.deepEqual(
      second.refused.map(({ isRemoved }) => isRemoved),
      [true, true],
    );
    second.answerRefused();
    await settled();
    assert.deepEqual(answers, ['done', 'done']);
  });

  it('answers everything that waits when it is dropped', async () => {
    const { lettering, add, answers } = setup(({ offset }) => offset === 5);
    add(request(4));
    add(request(5));
    await lettering.read(config);
    lettering.drop();
    await settled();
    assert.deepEqual(answers, ['done', 'done']);
  });

  it('builds so many at a time', async () => {
    const { lettering, nextBatch, add, asked } = setup();
    add(...Array.from({ length: limits.deadLetterBatchMessages + 2 }, (_, i) => request(2 + i)));
    await nextBatch();
    await nextBatch();
    assert.deepEqual(
      asked.map(({ length }) => length),
      [limits.deadLetterBatchMessages, 2],
    );
    assert.equal(lettering.hasWaiting, false);
  });
});

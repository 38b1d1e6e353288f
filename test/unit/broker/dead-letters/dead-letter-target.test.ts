import assert from 'node:assert/strict';
import { SluiceError } from '../../../../src/base/errors.js';
import { DeadLetterBuilder } from '../../../../src/broker/dead-letters/dead-letter-builder.js';
import { DeadLettering } from '../../../../src/broker/dead-letters/dead-lettering.js';
import type { Topic } from '../../../../src/broker/topics/topic.js';
import type { DeadLetterRequest } from '../../../../src/core/types.js';
import type { StoredRun } from '../../../../src/storage/types.js';
import { entry } from '../../../integration/storage/harness.js';

const subscriptionId = 7;
const config = { topic: 'orders', name: 's', deadLetter: { topic: 'failed' } } as never;
const attemptsUsedUp = { attempts: 3, reason: 'attempts used up' };

function requestOf(offset: number): DeadLetterRequest {
  return { partition: 0, offset, ...attemptsUsedUp } as DeadLetterRequest;
}

function runOf(offset: number): StoredRun {
  // A payload of one byte.
  const messages = entry(Buffer.of(0x12, 1, offset));
  const ends = Uint32Array.of(messages.length);
  const common = { partition: 0, publishTimeMs: 1, producerId: '', targetSubscriptionId: 0 };
  return { ...common, firstOffset: offset, count: 1, messages, ends };
}

/** Dead-lettering of the topic `orders`. The test answers each read, and says which dead-letter topic there is. */
class Setup {
  target: Pick<Topic, 'topicId' | 'config'> | undefined;
  readonly reads: { readonly offset: number; readonly answer: (runs: readonly StoredRun[]) => void }[] = [];
  readonly deadLettering: DeadLettering;

  constructor() {
    this.setTarget(5, 1);
    const storage = {
      extent: () => ({ firstOffset: 0, endOffset: 10, bytes: 0 }),
      openReader: () => ({
        read: (offset: number) => {
          return new Promise<readonly StoredRun[]>((answer) => this.reads.push({ offset, answer }));
        },
        close() {},
      }),
    };
    const builder = new DeadLetterBuilder({
      storage: storage as never,
      clock: { wallMs: () => 0 } as never,
      topics: {
        find: () => undefined,
        getOrCreate: () => {
          if (this.target === undefined) throw new SluiceError('TOPIC_NOT_FOUND', 'it can not be created');
          return this.target as Topic;
        },
      },
      routes: { routesOf: () => [] },
    });
    const topic = { name: 'orders', topicId: 1, firstOffset: () => 0 };
    this.deadLettering = new DeadLettering(builder, topic as never, subscriptionId);
  }

  setTarget(topicId: number, partitionCount: number): void {
    this.target = { topicId, config: { partitionCount } as Topic['config'] };
  }

  async answerRead(): Promise<void> {
    const { offset, answer } = this.reads.shift()!;
    answer([runOf(offset)]);
    await new Promise(setImmediate);
  }
}

describe('the topic of dead letters', () => {
  it('appends to the topic that there is when the batch is taken, not while it was read', async () => {
    const setup = new Setup();
    void setup.deadLettering.add([requestOf(0), requestOf(1)]);
    const reading = setup.deadLettering.read(config);
    await setup.answerRead();
    // The dead-letter topic is deleted and made again between the two reads.
    setup.setTarget(6, 1);
    await setup.answerRead();
    const { accepted, changes } = setup.deadLettering.takeBatch(config, await reading);
    assert.deepEqual(
      changes.map((change) => (change.kind === 'append' ? [change.kind, change.topicId] : [change.kind])),
      [['append', 6], ['dead-letter'], ['dead-letter']],
    );
    assert.deepEqual(
      accepted.map(({ offset }) => offset),
      [0, 1],
    );
  });

  it('refuses the messages when there is no topic to append to', async () => {
    const setup = new Setup();
    const answered = setup.deadLettering.add([requestOf(0)]);
    const reading = setup.deadLettering.read(config);
    await setup.answerRead();
    setup.target = undefined;
    const batch = setup.deadLettering.takeBatch(config, await reading);
    assert.deepEqual([batch.accepted, batch.changes], [[], []]);
    assert.equal(batch.refused[0]!.error.reason, 'TOPIC_NOT_FOUND');
    batch.answerRefused();
    await assert.rejects(answered, { reason: 'TOPIC_NOT_FOUND' });
  });

  it('answers everything that waits when the subscription ends during a read', async () => {
    const setup = new Setup();
    const first = setup.deadLettering.add([requestOf(0)]);
    const reading = setup.deadLettering.read(config);
    const later = setup.deadLettering.add([requestOf(1), requestOf(2)]);
    await setup.answerRead();
    await reading;
    setup.deadLettering.drop();
    await Promise.all([first, later]);
    assert.equal(setup.deadLettering.hasWaiting, false);
  });
});

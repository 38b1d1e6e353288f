import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { systemClock } from '../../../src/base/clock.js';
import { silentLogger } from '../../../src/base/logger.js';
import { createRandom } from '../../../src/base/random.js';
import { MiB, minuteMs } from '../../../src/base/units.js';
import { createBroker } from '../../../src/broker/broker.js';
import type { Broker, PublishDone } from '../../../src/broker/types.js';
import { openStorage } from '../../../src/storage/storage.js';
import type { Storage, Transaction } from '../../../src/storage/types.js';
import { encodeBatch } from '../../simulation/messages.js';
import { contextOf } from '../../support/call-context.js';
import { defaultOptions, makeDirectory } from '../storage/harness.js';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** Apart, so that what is called back has nothing to do with the batch. */
function pendingAnswer(): { answer: Promise<number>; done: PublishDone } {
  let done: PublishDone = () => {};
  const answer = new Promise<number>((resolve) => {
    done = (_error, receipt) => resolve(receipt?.messageCount ?? 0);
  });
  return { answer, done };
}

/** What requests leave in memory until they are answered. */
describe('batches that have been submitted', () => {
  let directory: string;
  let broker: Broker;
  let hold = false;
  let wasCommitted: () => void = () => {};
  const held: (() => void)[] = [];

  /** The real store, whose commits the broker hears of when the test says so. It keeps nothing else. */
  function holding(storage: Storage): Storage {
    const submit = ({ onCommitted = () => {}, ...transaction }: Transaction): readonly number[] => {
      const committed = () => {
        if (!hold) onCommitted();
        else {
          held.push(onCommitted);
          wasCommitted();
        }
      };
      return storage.submit({ ...transaction, onCommitted: committed });
    };
    return new Proxy(storage, {
      get: (target, name) => {
        if (name === 'submit') return submit;
        const value = Reflect.get(target, name, target);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  }

  before(async () => {
    directory = await makeDirectory();
    const services = { clock: systemClock, logger: silentLogger };
    const storage = await openStorage({ ...defaultOptions, directory }, services);
    broker = await createBroker(
      {
        version: 'test',
        canAutoCreateTopics: true,
        defaultDurability: 'written',
        defaultAckDeadlineMs: minuteMs,
        maxPartitionCount: defaultOptions.maxPartitionCount,
        maxMessageBytes: MiB,
        maxRequestBytes: MiB,
        minFreeDiskBytes: 0,
        frameBytes: MiB,
      },
      {
        storage: holding(storage),
        freeDiskBytes: async () => MiB,
        clock: systemClock,
        random: createRandom(1),
        logger: silentLogger,
      },
    );
  });
  after(async () => {
    await broker.close();
    await rm(directory, { recursive: true });
  });

  it('are not kept in memory until their commit is answered', async () => {
    const publisher = broker.openPublisher(contextOf('test'));
    const publish = (producer?: { producerId: string; epoch: number; firstSequence: number }) => {
      const drafts = ['a', 'b'].map((id) => ({ id, key: '', padding: 100 }));
      const batch = { topic: 'held', partition: undefined, producer, ...encodeBatch(drafts) };
      const { answer, done } = pendingAnswer();
      publisher.publish(batch, done);
      return { memory: new WeakRef(batch.source), answer };
    };
    // The topic is made, and the producer known, before anything is held.
    await publish({ producerId: 'p', epoch: 1, firstSequence: 1 }).answer;
    hold = true;
    const committed = new Promise<void>((resolve) => {
      wasCommitted = () => held.length === 2 && resolve();
    });
    const batches = [publish(), publish({ producerId: 'p', epoch: 1, firstSequence: 3 })];
    await committed;
    await setImmediate();
    collectGarbage();
    assert.deepEqual(
      batches.map(({ memory }) => memory.deref() === undefined),
      [true, true],
    );
    hold = false;
    for (const answer of held.splice(0)) answer();
    assert.deepEqual(await Promise.all(batches.map(({ answer }) => answer)), [2, 2]);
  });
});

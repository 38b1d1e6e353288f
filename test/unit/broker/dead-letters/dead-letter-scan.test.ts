import assert from 'node:assert/strict';
import { SluiceError } from '../../../../src/base/errors.js';
import { DeadLetterScan } from '../../../../src/broker/dead-letters/dead-letter-scan.js';
import type { Topic } from '../../../../src/broker/topics/topic.js';
import { appendOrigin, deadLetterHeaders } from '../../../../src/envelope/dead-letter-origin.js';
import type { Storage, StoredRun } from '../../../../src/storage/types.js';
import { encodeBatch } from '../../../simulation/messages.js';

const owner = { topic: 'orders', subscription: 's', subscriptionId: 4, createTimeMs: 1_000 };

/** An entry of a dead letter of this subscription id; of no subscription for 0. */
function deadLetter(subscriptionId: number): Uint8Array {
  const { source } = encodeBatch([{ id: 'm', key: '', padding: 0 }]);
  if (subscriptionId === 0) return source;
  return appendOrigin(source, subscriptionId, {
    [deadLetterHeaders.topic]: 'orders',
    [deadLetterHeaders.partition]: '3',
    [deadLetterHeaders.offset]: '7',
    [deadLetterHeaders.subscription]: 's',
    [deadLetterHeaders.attempts]: '2',
    [deadLetterHeaders.reason]: 'r',
    [deadLetterHeaders.time]: new Date(5_000).toISOString(),
  });
}

function run(firstOffset: number, subscriptionIds: readonly number[]): StoredRun {
  const entries = subscriptionIds.map(deadLetter);
  let end = 0;
  const ends = Uint32Array.from(entries, ({ length }) => (end += length));
  const place = { partition: 0, firstOffset, count: entries.length, publishTimeMs: 1 };
  return { ...place, producerId: '', targetSubscriptionId: 0, messages: Buffer.concat(entries), ends };
}

/** Each read answers one run. */
function scanOf(runs: readonly StoredRun[], next: number, end: number) {
  const state = {
    firstOffset: 0,
    closeCount: 0,
    failure: undefined as unknown,
    read: undefined as (() => Promise<readonly StoredRun[]>) | undefined,
  };
  const storage = {
    openReader: () => ({
      read: async (offset: number) => {
        if (state.failure !== undefined) throw state.failure;
        if (state.read !== undefined) return state.read();
        if (offset < state.firstOffset) throw new SluiceError('OFFSET_OUT_OF_RANGE', 'removed');
        return runs.filter(({ firstOffset, count }) => firstOffset + count > offset).slice(0, 1);
      },
      close: () => {
        state.closeCount += 1;
      },
    }),
    extent: () => ({ firstOffset: state.firstOffset, endOffset: 99, bytes: 0 }),
  };
  const topic = { topicId: 9 } as Topic;
  const scan = new DeadLetterScan(storage as unknown as Storage, topic, { partition: 0, next, end }, owner);
  const page = async () => {
    const found = await scan.next();
    return found && [found.deadLetters.map(({ offset }) => offset), found.nextOffset];
  };
  return { scan, state, page };
}

describe('the scan for dead letters', () => {
  it('finds those of its subscription in its range, page by page', async () => {
    const { scan, page, state } = scanOf([run(0, [4, 4, 5, 4]), run(4, [0, 5]), run(6, [4, 4])], 1, 7);
    assert.deepEqual(await page(), [[1, 3], 4]);
    assert.deepEqual(await page(), [[], 6], 'a page may have none');
    assert.deepEqual(await page(), [[6], 7]);
    assert.equal(await page(), undefined);
    assert.equal(state.closeCount, 0);
    scan.close();
    assert.equal(state.closeCount, 1);
  });

  it('copies the messages, with the partition that they came from', async () => {
    const stored = run(0, [4]);
    const { scan } = scanOf([stored], 0, 1);
    const { deadLetters } = (await scan.next())!;
    stored.messages.fill(0);
    assert.deepEqual(Buffer.from(deadLetters[0]!.entry), Buffer.from(deadLetter(4)));
    assert.equal(deadLetters[0]!.originPartition, 3);
  });

  it('goes on behind what retention has removed', async () => {
    const { page, state } = scanOf([run(0, [4, 4]), run(2, [4, 4])], 0, 4);
    state.firstOffset = 3;
    assert.deepEqual(await page(), [[], 3]);
    assert.deepEqual(await page(), [[3], 4]);
    state.failure = new SluiceError('DATA_LOSS', 'damaged');
    assert.equal(await page(), undefined, 'at the end nothing is read');
  });

  it('ends when it is closed while a page is read', async () => {
    const { scan, page } = scanOf([], 0, 1);
    const underWay = page();
    scan.close();
    assert.equal(await underWay, undefined, 'closed before the read');
    const reading = scanOf([], 0, 1);
    let second: ReturnType<typeof reading.page> | undefined;
    const answer = await new Promise<(runs: readonly StoredRun[]) => void>((begun) => {
      reading.state.read = () => new Promise(begun);
      second = reading.page();
    });
    reading.scan.close();
    answer([]);
    assert.equal(await second, undefined, 'closed during the read, which is answered with an empty list');
    assert.equal(await reading.page(), undefined);
  });

  it('passes on every other failure', async () => {
    const { page, state } = scanOf([run(0, [4])], 0, 1);
    state.failure = new SluiceError('DATA_LOSS', 'damaged');
    await assert.rejects(page(), { reason: 'DATA_LOSS' });
  });

  it('takes an empty answer below the end for a defect', async () => {
    const { page } = scanOf([], 0, 1);
    await assert.rejects(page(), /came back empty/);
  });
});

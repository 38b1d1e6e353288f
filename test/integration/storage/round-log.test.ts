import assert from 'node:assert/strict';
import { SluiceError } from '../../../src/base/errors.js';
import { limits } from '../../../src/base/limits.js';
import { createRandom } from '../../../src/base/random.js';
import type { RoundLog, RoundLogListener } from '../../../src/storage/commit/round-log.js';
import type { Change } from '../../../src/storage/types.js';
import {
  FakeRoundLog,
  type FakeRoundLogOptions,
  HeldNetwork,
  type Network,
  RandomNetwork,
  SharedLog,
} from '../../support/fake-round-log.js';
import { until } from '../../support/until.js';
import {
  append,
  closeAll,
  commit,
  createHarness,
  createTopic,
  type Harness,
  payloads,
  readAll,
  subscriptionConfig,
} from './harness.js';

interface StoreOnLog extends Harness {
  readonly shared: SharedLog;
  readonly log: FakeRoundLog;
  readonly topicId: number;
  /** What was answered, in order: `offset:committed`, `offset:failed`. */
  readonly answers: string[];
  /** Submits one message. Returns its offset. */
  publish(text: string): number;
  /** What readers see. */
  read(): Promise<string[]>;
  /** What is there after the store was opened again, with its local log only. */
  readAfterRestart(): Promise<string[]>;
}

/** A store with a topic. Its log is the fake one when it is first opened, and the local one afterwards. */
async function openOn(network: Network, options: FakeRoundLogOptions = {}): Promise<StoreOnLog> {
  let log: FakeRoundLog | undefined;
  let shared: SharedLog | undefined;
  const harness = await createHarness({ tailBytes: 0 }, undefined, {
    roundLog(local) {
      if (shared !== undefined) return local;
      shared = new SharedLog(local.state.nextPosition);
      log = new FakeRoundLog(shared, local, network, options);
      return log;
    },
  });
  const topicId = await createTopic(harness.storage, 'orders');
  const answers: string[] = [];
  const read = async () => payloads(await readAll(harness.storage.openReader(topicId, 0), 0));
  return Object.assign(harness, {
    shared: shared!,
    log: log!,
    topicId,
    answers,
    publish(text: string) {
      const [offset] = harness.storage.submit({
        durability: 'synced',
        changes: [append(topicId, 0, [text])],
        onCommitted: () => answers.push(`${offset}:committed`),
        onFailed: (error) => {
          assert(error instanceof SluiceError && error.reason === 'STORAGE_FAILED', String(error));
          answers.push(`${offset}:failed`);
        },
      });
      return offset!;
    },
    read,
    async readAfterRestart() {
      await harness.reopen();
      return await read();
    },
  });
}

/** A log that passes rounds on to the local one until it ends. */
function endingLog(local: RoundLog, endsBefore: (position: number) => boolean): RoundLog {
  let listener: RoundLogListener | undefined;
  let hasEnded = false;
  return {
    get state() {
      return local.state;
    },
    listen(each) {
      listener = each;
      local.listen(each);
    },
    append(position, epoch, round) {
      if (hasEnded) return;
      if (endsBefore(position)) {
        hasEnded = true;
        setImmediate(() => listener?.ended({ kind: 'failed', message: 'killed' }));
      } else local.append(position, epoch, round);
    },
    close: () => local.close(),
  };
}

const turns = async (count: number): Promise<void> => {
  for (let turn = 0; turn < count; turn++) await new Promise(setImmediate);
};

describe('storage: a log of rounds that loses, delays and refuses', () => {
  afterEach(closeAll);

  for (const writesFirst of [true, false]) {
    const order = writesFirst ? 'written first' : 'committed first';

    it(`answers each transaction once and in order, whatever the network loses: ${order}`, async () => {
      const store = await openOn(new RandomNetwork(createRandom(5)), { writesFirst });
      const texts = Array.from({ length: 60 }, (_, index) => `m${index}`);
      for (const text of texts) {
        store.publish(text);
        await turns(1);
      }
      await until(() => store.answers.length === texts.length);
      await store.log.settled();
      assert.deepEqual(
        store.answers,
        texts.map((_, offset) => `${offset}:committed`),
      );
      assert.deepEqual(await store.read(), texts);
      assert.deepEqual(await store.readAfterRestart(), texts);
      assert.deepEqual(store.answers.length, texts.length);
    });

    it(`shows and answers a round only when the log has it: ${order}`, async () => {
      const network = new HeldNetwork();
      const store = await openOn(network, { writesFirst });
      network.isHolding = true;
      store.publish('m');
      const { storage, topicId, events } = store;
      await until(() => network.heldPositions.length === 1);
      // The local log has then written everything that it was given.
      await until(() => store.log.writeCount === 0);
      await turns(10);
      assert.equal(store.log.writtenCount, writesFirst ? 2 : 1);
      assert.deepEqual([store.answers, events], [[], []]);
      assert.equal(storage.extent(topicId, 0).endOffset, 0);
      assert.equal(await storage.offsetAt(topicId, 0, 0), 0);
      assert.deepEqual(await store.read(), []);
      network.releaseAll();
      await until(() => store.answers.length > 0);
      assert.deepEqual([store.answers, events], [['0:committed'], [`${topicId}/0:1`]]);
      assert.deepEqual(await store.read(), ['m']);
    });
  }

  it('commits a dead letter together with the cursors that show it, also when more waits than a round holds', async () => {
    let endsAt = Number.POSITIVE_INFINITY;
    let log: RoundLog | undefined;
    const { storage, reopen } = await createHarness({ tailBytes: 0 }, undefined, {
      roundLog: (local) => {
        log = endingLog(local, (position) => position >= endsAt);
        return log;
      },
    });
    const topicId = await createTopic(storage, 'orders');
    const subscriptionId = storage.nextSubscriptionId();
    const config = subscriptionConfig('orders', 's');
    const published = append(topicId, 0, Array(6).fill('m'));
    await commit(storage, { putSubscriptions: [{ subscriptionId, topicId, config }], appends: [published] });
    const place = { subscriptionId, partition: 0 };
    let acknowledgedOffset = 5;
    const state = () => ({ acknowledgedOffset, settled: [], failed: [], deadLetterCount: 0 });
    const cursor: Change = { kind: 'cursor', ...place, state };
    const note: Change = { kind: 'dead-letter', ...place, offset: 5, attempts: 3 };
    // Only the next round is written.
    endsAt = log!.state.nextPosition + 1;
    const submit = (...changes: Change[]) =>
      new Promise<void>((resolve) => {
        storage.submit({ durability: 'synced', changes, onCommitted: resolve, onFailed: () => resolve() });
      });
    const answered = [
      submit(cursor),
      submit(append(topicId, 0, ['x'.repeat(limits.roundBytes)])),
      submit(append(topicId, 0, ['dead letter']), note, cursor),
    ];
    acknowledgedOffset = 6;
    await Promise.all(answered);
    endsAt = Number.POSITIVE_INFINITY;
    const opened = await reopen();
    const cursors = await opened.readCursors(subscriptionId, 1);
    assert.equal(cursors.get(0)?.acknowledgedOffset, 6);
    assert.deepEqual(await opened.readDeadLetterOffsets(subscriptionId, 0, 0, 9, 10), [5]);
  });

  it('answers in the order of positions when the log has a later round first', async () => {
    const network = new HeldNetwork();
    const store = await openOn(network);
    network.isHolding = true;
    const first = store.publish('first');
    await until(() => network.heldPositions.length === 1);
    // Large enough for a round of its own while another one is under way.
    const second = store.publish('x'.repeat(300_000));
    await until(() => network.heldPositions.length === 2);
    network.release(network.heldPositions[1]!);
    await turns(10);
    assert.deepEqual(store.answers, []);
    network.releaseAll();
    await until(() => store.answers.length === 2);
    assert.deepEqual(store.answers, [`${first}:committed`, `${second}:committed`]);
  });

  it('answers a round as committed that is stored, though its answer is lost and the log is taken over', async () => {
    // The round of the topic, then that of the message: its second try finds its own bytes.
    const network = new HeldNetwork('served', 'answer-lost');
    const store = await openOn(network);
    network.isHolding = true;
    store.publish('kept');
    await until(() => network.heldPositions.length === 1);
    network.release(network.heldPositions[0]!);
    await until(() => network.heldPositions.length === 1);
    store.shared.takeOver();
    network.releaseAll();
    await until(() => store.answers.length === 1);
    store.publish('refused');
    await until(() => store.failures.length === 1);
    assert.deepEqual(store.answers, ['0:committed', '1:failed']);
    assert.deepEqual(await store.read(), ['kept']);
    assert.deepEqual(await store.readAfterRestart(), ['kept']);
  });

  it('fails when it is fenced: everything under way is refused once, and nothing of it is shown or kept', async () => {
    const network = new HeldNetwork();
    const store = await openOn(network);
    store.publish('kept');
    await until(() => store.answers.length === 1);
    network.isHolding = true;
    store.publish('under way');
    await until(() => network.heldPositions.length === 1);
    store.publish('waiting');
    store.shared.takeOver();
    network.releaseAll();
    await until(() => store.failures.length === 1);
    const [failure] = store.failures;
    assert(failure instanceof SluiceError && failure.reason === 'STORAGE_FAILED');
    assert.match(failure.message, /another process has taken over/);
    assert.deepEqual(store.answers, ['0:committed', '1:failed', '2:failed']);
    assert.throws(() => store.publish('late'), failure);
    assert.deepEqual(store.events, [`${store.topicId}/0:1`]);
    assert.deepEqual(await store.read(), ['kept']);
    assert.deepEqual(await store.readAfterRestart(), ['kept']);
    assert.equal(store.answers.length, 3);
    assert.deepEqual(await commit(store.storage, { appends: [append(store.topicId, 0, ['next'])] }), [1]);
  });

  it('closes only after the log has answered', async () => {
    const network = new HeldNetwork();
    const store = await openOn(network, { writesFirst: true });
    network.isHolding = true;
    store.publish('m');
    let isClosed = false;
    const closing = store.storage.close().then(() => (isClosed = true));
    await until(() => network.heldPositions.length > 0);
    await until(() => store.log.writeCount === 0);
    await turns(10);
    assert.equal(isClosed, false);
    network.releaseAll();
    await closing;
    assert.deepEqual(store.answers, ['0:committed']);
  });
});

import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { SluiceError } from '../../src/base/errors.js';
import type { CursorState } from '../../src/base/positions.js';
import { cursorsColumn, metadataColumn } from '../../src/storage/engine/columns.js';
import * as keys from '../../src/storage/engine/keys.js';
import {
  append,
  commit,
  createTopic,
  makeDirectory,
  openIn,
  payloads,
  readAll,
  subscriptionConfig,
} from '../integration/storage/harness.js';
import type { ChangeLists } from '../support/changes.js';
import { change } from './changed-record.js';

const messageCount = 500;
const orders = 1;
const deadLetters = 2;
const billing = 1;

function cursorAt(acknowledgedOffset: number, changes: Partial<CursorState> = {}): CursorState {
  return { acknowledgedOffset, settled: [], failed: [], deadLetterCount: 0, ...changes };
}

function billingAt(state: CursorState): ChangeLists {
  return { cursors: [{ subscriptionId: billing, partition: 0, state: () => state }] };
}

/** Retention has removed every message of both topics, unless they are kept. */
async function createStore(
  directory: string,
  changes: ChangeLists,
  { keepsMessages = false } = {},
): Promise<void> {
  const storage = await openIn(directory);
  assert.equal(await createTopic(storage, 'orders'), orders);
  assert.equal(await createTopic(storage, 'orders.billing.dead-letter'), deadLetters);
  assert.equal(storage.nextSubscriptionId(), billing);
  const config = subscriptionConfig('orders', 'billing');
  const messages = Array.from({ length: messageCount }, (_, n) => `m${n}`);
  await commit(storage, {
    putSubscriptions: [{ subscriptionId: billing, topicId: orders, config }],
    appends: [append(orders, 0, messages), append(deadLetters, 0, messages)],
  });
  await commit(storage, changes);
  for (const topicId of keepsMessages ? [] : [orders, deadLetters]) {
    await storage.removeBelow(topicId, 0, messageCount);
  }
  await storage.close();
}

async function refusalOf(directory: string, acceptDataLoss = false): Promise<string> {
  const error = await openIn(directory, { acceptDataLoss }).then(
    () => assert.fail('it opened'),
    (thrown: unknown) => thrown,
  );
  assert(error instanceof SluiceError && error.reason === 'DATA_LOSS', String(error));
  return error.message;
}

/** What says how far the partition of a topic had reached, once its extent and its messages are gone. */
const evidence: {
  readonly title: string;
  readonly topicId: number;
  readonly changes: ChangeLists;
  /** Without the file of synced offsets, which alone would do. */
  readonly isFileRemoved: boolean;
}[] = [
  {
    title: 'a cursor',
    topicId: orders,
    changes: billingAt(cursorAt(messageCount)),
    isFileRemoved: true,
  },
  {
    title: 'a message that was settled ahead of the others',
    topicId: orders,
    changes: billingAt(cursorAt(7, { settled: [{ first: 490, last: messageCount - 1 }] })),
    isFileRemoved: true,
  },
  {
    title: 'a message that has failed',
    topicId: orders,
    changes: billingAt(cursorAt(7, { failed: [{ offset: messageCount - 1, attempts: 3 }] })),
    isFileRemoved: true,
  },
  {
    title: 'the note of a dead letter',
    topicId: orders,
    changes: {
      deadLetters: [{ subscriptionId: billing, partition: 0, offset: messageCount - 1, attempts: 3 }],
    },
    isFileRemoved: true,
  },
  {
    title: 'the note of a redrive',
    topicId: deadLetters,
    changes: {
      redrives: [
        { subscriptionId: billing, deadLetterTopicId: deadLetters, partition: 0, offset: messageCount },
      ],
    },
    isFileRemoved: true,
  },
  { title: 'the file of synced offsets', topicId: orders, changes: {}, isFileRemoved: false },
];

describe('storage: a lost extent of a partition without messages', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await makeDirectory();
  });
  afterEach(() => rm(directory, { recursive: true }));

  for (const { title, topicId, changes, isFileRemoved } of evidence) {
    it(`assigns no offset again: ${title} says how far it had reached`, async () => {
      await createStore(directory, changes);
      await change(directory, metadataColumn, keys.extentKey(topicId, 0), 'alter');
      if (isFileRemoved) await rm(join(directory, 'synced-offsets'));
      const refusal = await refusalOf(directory);
      assert.match(refusal, new RegExp(`partition 0 of topic ${topicId} is missing.* up to offset 499`));
      assert.match(refusal, /--accept-data-loss/);
      await (await openIn(directory, { acceptDataLoss: true })).close();
      const storage = await openIn(directory);
      assert.deepEqual(storage.warnings, []);
      assert.deepEqual(await commit(storage, { appends: [append(topicId, 0, ['next'])] }), [messageCount]);
      await storage.close();
    });
  }

  it('assigns no offset again where an extent is missing without a trace', async () => {
    await createStore(directory, billingAt(cursorAt(messageCount)));
    await change(directory, metadataColumn, keys.extentKey(orders, 0), 'remove');
    assert.match(await refusalOf(directory), /partition 0 of topic 1 is missing.* up to offset 499/);
    await (await openIn(directory, { acceptDataLoss: true })).close();
    const storage = await openIn(directory);
    assert.deepEqual(await commit(storage, { appends: [append(orders, 0, ['next'])] }), [messageCount]);
    await storage.close();
  });

  it('assigns no offset again where an extent ends below a cursor, and says what is missing', async () => {
    const behind = 20;
    await createStore(directory, billingAt(cursorAt(messageCount + behind)));
    const refusal = await refusalOf(directory);
    assert.match(refusal, /partition 0 of topic 1 ends at offset 500, and a cursor .* up to offset 519/);
    assert.match(refusal, /--accept-data-loss/);
    await (await openIn(directory, { acceptDataLoss: true })).close();
    const storage = await openIn(directory);
    assert.deepEqual(storage.warnings, []);
    assert.deepEqual(await commit(storage, { appends: [append(orders, 0, ['next'])] }), [
      messageCount + behind,
    ]);
    const reader = storage.openReader(orders, 0);
    await assert.rejects(
      async () => reader.read(messageCount, 1_000),
      (error) =>
        error instanceof SluiceError && error.reason === 'DATA_LOSS' && /500 to 519/.test(error.message),
    );
    assert.deepEqual(payloads(await readAll(reader, messageCount + behind)), ['next']);
    await storage.close();
  });

  it('assigns no offset again where the extent is lost and the messages end below a cursor', async () => {
    await createStore(directory, billingAt(cursorAt(520)), { keepsMessages: true });
    await change(directory, metadataColumn, keys.extentKey(orders, 0), 'alter');
    const says =
      /partition 0 of topic 1 is missing: there are messages in it up to offset 499, .* up to offset 519/;
    assert.match(await refusalOf(directory), says);
    await (await openIn(directory, { acceptDataLoss: true })).close();
    const storage = await openIn(directory);
    assert.deepEqual(await commit(storage, { appends: [append(orders, 0, ['next'])] }), [520]);
    const reader = storage.openReader(orders, 0);
    const whole = await reader.read(0, 1_000_000);
    assert.equal(
      whole.reduce((sum, { count }) => sum + count, 0),
      messageCount,
    );
    await assert.rejects(async () => reader.read(500, 1_000), /500 to 519/);
    assert.deepEqual(payloads(await readAll(reader, 520)), ['next']);
    await storage.close();
  });

  it('refuses the start, also if the loss is accepted, if nothing says how far it had reached', async () => {
    await createStore(directory, {});
    await change(directory, metadataColumn, keys.extentKey(orders, 0), 'alter');
    await rm(join(directory, 'synced-offsets'));
    const says = /partition 0 of topic 1 is missing, and can't be rebuilt: nothing says how many/;
    const refusal = await refusalOf(directory);
    assert.match(refusal, says);
    assert(!refusal.includes('--accept-data-loss'), refusal);
    assert.match(await refusalOf(directory, true), says);
  });

  it('refuses the start, also if the loss is accepted, if a note can not be read', async () => {
    await createStore(directory, {
      ...billingAt(cursorAt(messageCount)),
      redrives: [{ subscriptionId: billing, deadLetterTopicId: deadLetters, partition: 0, offset: 9 }],
    });
    await change(directory, metadataColumn, keys.extentKey(orders, 0), 'alter');
    await change(directory, cursorsColumn, keys.redriveKey(billing, deadLetters, 0), 'alter');
    assert.match(await refusalOf(directory, true), /can't be rebuilt: no message is left, and a note/);
  });
});

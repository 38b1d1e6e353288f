import assert from 'node:assert/strict';
import { fromBinary } from '@bufbuild/protobuf';
import { ConsumeRequestSchema } from '@sluice/client/api';
import { type Outcome, toSettlement } from '#client/consumer/settlement.js';
import { Settlements } from '#client/consumer/settlements.js';

/** What is written, as text: `ack 0:1-3 nack 1:5 #7`. */
class Written {
  readonly texts: string[] = [];
  readonly lastDeliveryIds: bigint[] = [];
  readonly #waiting: (() => void)[] = [];
  isBlocked = false;

  readonly write = async (bytes: Buffer): Promise<void> => {
    const request = fromBinary(ConsumeRequestSchema, bytes);
    const settlements = request.settlements.map(({ offsets, outcome }) => {
      const { partition, firstOffset, lastOffset } = offsets!;
      const range = firstOffset === lastOffset ? `${firstOffset}` : `${firstOffset}-${lastOffset}`;
      return `${outcome.case} ${partition}:${range}`;
    });
    const text = settlements.length > 5 ? `${settlements.length} settlements` : settlements.join(' ');
    this.texts.push(`${text} #${request.settlementId}`);
    this.lastDeliveryIds.push(request.lastDeliveryId);
    if (this.isBlocked) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  };

  unblock(): void {
    this.isBlocked = false;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

const settle = (settlements: Settlements, offset: number, outcome: Outcome, answered = (_: boolean) => {}) =>
  settlements.settle(
    toSettlement({ partition: 1, first: offset, last: offset }, outcome),
    1,
    offset,
    answered,
  );
const nack: Outcome = { kind: 'nack', delayMs: 5, reason: 'x'.repeat(5_000) };
const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('Settlements', () => {
  let written: Written;
  let promptCount: number;
  let lastDeliveryId: number;
  let settlements: Settlements;
  beforeEach(() => {
    written = new Written();
    promptCount = 100;
    lastDeliveryId = 0;
    const { write } = written;
    settlements = new Settlements({
      ackIntervalMs: 1,
      promptCount: () => promptCount,
      lastDeliveryId: () => lastDeliveryId,
      write,
    });
  });
  afterEach(() => settlements.drop());

  it('gather acknowledgements for an interval, and say which are durable', async () => {
    const answers: string[] = [];
    for (const offset of [3, 1, 2, 7]) {
      settlements.acknowledge(0, offset, (isDurable) => answers.push(`${offset} ${isDurable}`));
    }
    settlements.acknowledge(1, 5);
    assert.deepEqual(written.texts, []);
    while (written.texts.length === 0) await turn();
    assert.deepEqual(written.texts, ['ack 0:1-3 ack 0:7 ack 1:5 #1']);
    settlements.answered(1, [{ partition: 0, first: 2, last: 2 }]);
    assert.deepEqual(answers, ['3 true', '1 true', '2 false', '7 true']);
    settlements.answered(1, []);
    assert.equal(answers.length, 4);
  });

  it('send them at once when they are much of the credit', () => {
    promptCount = 3;
    for (const offset of [1, 2, 3]) settlements.acknowledge(0, offset);
    assert.deepEqual(written.texts, ['ack 0:1-3 #1']);
  });

  it('send other outcomes at once, behind the acknowledgements before them and apart from them', async () => {
    settlements.acknowledge(0, 1);
    settle(settlements, 5, nack);
    await turn();
    assert.deepEqual(written.texts, ['ack 0:1 #1', 'nack 1:5 #2']);
  });

  it('wait for a transport that is not read, and gather meanwhile', async () => {
    written.isBlocked = true;
    settlements.acknowledge(0, 1);
    settlements.flush();
    for (let offset = 2; offset < 500; offset++) settlements.acknowledge(0, offset);
    settle(settlements, 5, nack);
    settle(settlements, 6, { kind: 'deadLetter', reason: '' });
    settle(settlements, 7, { kind: 'extend', byMs: 1_000 });
    await turn();
    assert.deepEqual(written.texts, ['ack 0:1 #1']);
    written.unblock();
    await turn();
    assert.deepEqual(written.texts.slice(1), ['ack 0:2-499 #2', 'nack 1:5 deadLetter 1:6 extend 1:7 #3']);
  });

  it('leave no more than the broker reads without an answer', async () => {
    promptCount = 1;
    for (let offset = 0; offset < 200; offset += 2) {
      settlements.acknowledge(0, offset);
      await turn();
    }
    assert.equal(written.texts.length, 50);
    settlements.answered(1, []);
    await turn();
    assert.deepEqual(written.texts.slice(50), ['50 settlements #51']);
  });

  it('split what is more than one request may hold, and answer when all of it is', async () => {
    promptCount = 30_000;
    const answers: boolean[] = [];
    for (let i = 0; i < 25_000; i++)
      settlements.acknowledge(0, i * 2, (isDurable) => answers.push(isDurable));
    settlements.flush();
    const idle = settlements.whenIdle();
    assert.deepEqual(
      written.texts.map((text) => text.split(' ')[0]),
      ['10000', '10000', '5000'],
    );
    settlements.answered(1, [{ partition: 0, first: 0, last: 0 }]);
    settlements.answered(3, []);
    assert.equal(answers.length, 0);
    settlements.answered(2, []);
    await idle;
    assert.equal(answers.length, 25_000);
    assert.equal(answers[0], false);
    assert(answers.slice(1).every((isDurable) => isDurable));
  });

  it('keep requests of other outcomes far below what the broker reads: each may have a long reason', async () => {
    written.isBlocked = true;
    settlements.acknowledge(0, 1);
    settlements.flush();
    for (let offset = 0; offset < 2_500; offset++) settle(settlements, offset, nack);
    written.unblock();
    await turn();
    assert.deepEqual(
      written.texts.slice(1).map((text) => text.split(' ')[0]),
      ['1000', '1000', '500'],
    );
  });

  it('say which delivery was the last that was read when the request is made', async () => {
    lastDeliveryId = 300;
    settlements.acknowledge(0, 1);
    lastDeliveryId = 301;
    settle(settlements, 5, nack);
    assert.deepEqual(written.lastDeliveryIds, [301n]);
    await turn();
    lastDeliveryId = 2 ** 40;
    settle(settlements, 6, nack);
    await turn();
    assert.deepEqual(written.texts, ['ack 0:1 #1', 'nack 1:5 #2', 'nack 1:6 #3']);
    assert.deepEqual(written.lastDeliveryIds, [301n, 301n, 2n ** 40n]);
  });

  it('are dropped for what the broker has taken back before they were sent', async () => {
    written.isBlocked = true;
    settlements.acknowledge(0, 1);
    settlements.flush();
    const answers: string[] = [];
    const note = (offset: number) => (isDurable: boolean) => answers.push(`${offset} ${isDurable}`);
    for (const offset of [2, 3, 4, 5, 9]) settlements.acknowledge(0, offset, note(offset));
    settle(settlements, 4, nack, note(14));
    settle(settlements, 6, nack, note(16));
    settlements.revoke([
      { partition: 0, first: 3, last: 4 },
      { partition: 0, first: 8, last: 20 },
      { partition: 1, first: 6, last: 6 },
    ]);
    assert.deepEqual(answers.sort(), ['16 false', '3 false', '4 false', '9 false']);
    written.unblock();
    await turn();
    await turn();
    assert.deepEqual(written.texts, ['ack 0:1 #1', 'ack 0:2 ack 0:5 #2', 'nack 1:4 #3']);
    for (const id of [1, 2, 3]) settlements.answered(id, []);
    await settlements.whenIdle();
  });

  it('are false when the stream is over: what waits, what is under way, and what comes later', async () => {
    const answers: boolean[] = [];
    const note = (isDurable: boolean) => answers.push(isDurable);
    settlements.acknowledge(0, 1, note);
    settlements.flush();
    settlements.acknowledge(0, 2, note);
    settle(settlements, 3, nack, note);
    settlements.drop();
    settlements.acknowledge(0, 4, note);
    settle(settlements, 5, nack, note);
    assert.deepEqual(answers, [false, false, false, false, false]);
    await settlements.whenIdle();
  });
});

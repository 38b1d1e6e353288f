import assert from 'node:assert/strict';
import { type Producer, SluiceError } from '@sluice/client';
import { ClientBroker } from '../../../../test/support/client-broker.js';

const retryTimeoutMs = 2_000;

describe('retryTimeoutMs of the TypeScript client, while the broker is stopped', () => {
  const sluice = ClientBroker.use();
  const stop = () => process.kill(sluice.broker.pid, 'SIGSTOP');
  const resume = () => process.kill(sluice.broker.pid, 'SIGCONT');
  afterEach(resume);

  const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

  /** `stored` or the reason, and whether that came about in time. A busy machine delays both clocks. */
  async function timed(act: () => Promise<unknown>): Promise<string> {
    let when = 'early';
    const early = setTimeout(() => {
      when = 'in time';
    }, retryTimeoutMs - 100);
    const late = setTimeout(() => {
      when = 'late';
    }, retryTimeoutMs + 1_000);
    const result = await act().then(
      () => 'stored',
      (error: unknown) => SluiceError.from(error).reason,
    );
    clearTimeout(early);
    clearTimeout(late);
    return `${result} ${when}`;
  }

  const sendAt = async (producer: Producer, afterMs: number) => {
    await pause(afterMs);
    return timed(() => producer.send({ payload: 'x' }));
  };

  it('is what each send takes, and no batch is stored that was given up before the claim was renewed', async () => {
    const options = { topic: 'stopped', retryTimeoutMs, whenFull: 'fail' } as const;
    const producer = await sluice.client.producer(options);
    await producer.send({ payload: 'ok' });
    stop();
    const outcomes = await Promise.all([0, 700, 1_400].map((afterMs) => sendAt(producer, afterMs)));
    assert.deepEqual(outcomes, Array(3).fill('RETRY_TIMEOUT in time'));
    resume();
    let later = '';
    while (!later.startsWith('stored')) later = await timed(() => producer.send({ payload: 'later' }));
    const { offset } = await producer.send({ payload: 'last' });
    await producer.close();
    assert.equal(producer.lastSequence, offset! + 1n, 'each number is one message');
  });

  it('is what messages take that wait for room or for their linger, and close', async () => {
    const options = { topic: 'in-line', retryTimeoutMs, bufferMaxBytes: 1, lingerMs: 60_000 };
    const producer = await sluice.client.producer(options);
    stop();
    const outcomes = [0, 400, 800].map((afterMs) => sendAt(producer, afterMs));
    await pause(900);
    let isLate = false;
    const late = setTimeout(() => {
      isLate = true;
    }, retryTimeoutMs + 1_000);
    await producer.close();
    clearTimeout(late);
    assert.equal(isLate, false);
    assert.deepEqual(await Promise.all(outcomes), Array(3).fill('RETRY_TIMEOUT in time'));
  });
});

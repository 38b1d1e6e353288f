import assert from 'node:assert/strict';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { Producer_HoldReason as HoldReason, ProducerSchema } from '@sluice/client/api';
import { HoldNotice } from '../../../src/cli/publish/hold-notice.js';
import { VirtualClock } from '../../support/virtual-clock.js';

/** A notice of a producer of `orders` that turns a clock of its own. */
class Bench {
  readonly said: string[] = [];
  readonly notice: HoldNotice;
  lookCount = 0;
  isWaiting = true;
  producers: MessageInitShape<typeof ProducerSchema>[] = [];
  failure: Error | undefined;
  readonly #clock = new VirtualClock();

  constructor(producerId = '') {
    this.notice = new HoldNotice({
      topic: 'orders',
      producerId,
      clock: this.#clock,
      isWaiting: () => this.isWaiting,
      listProducers: async () => {
        this.lookCount++;
        if (this.failure !== undefined) throw this.failure;
        return this.producers.map((producer) => create(ProducerSchema, producer));
      },
      say: (line) => this.said.push(line),
    });
  }

  hold(holdReason: HoldReason, topic = 'orders', producerId = ''): void {
    this.producers = [{ topic, producerId, holdReason }];
  }

  /** Seconds pass, with as many receipts in each. */
  async pass(seconds: number, receiptCount = 0): Promise<void> {
    for (let i = 0; i < seconds; i++) {
      for (let j = 0; j < receiptCount; j++) this.notice.received();
      this.#clock.advance(1_000);
      // The broker has answered, and the next check is due in a second.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  get timerCount(): number {
    return this.#clock.pendingCount;
  }
}

describe('notice of a held publish', () => {
  const reasons: [HoldReason, RegExp][] = [
    [HoldReason.BACKLOG, /^waiting: the backlog of orders is full; .*`sluice subscription list orders`/],
    [HoldReason.DISK, /^waiting: the disk of the broker is nearly full; .*let consumers catch up/],
    [HoldReason.WRITER, /^waiting: the disk of the broker is slower/],
    [HoldReason.SHARE, /busy with other topics/],
    [HoldReason.RECEIPTS, /^waiting: too many batches/],
  ];
  for (const [reason, line] of reasons) {
    it(`says once why it waits, and once that it goes on: ${HoldReason[reason]}`, async () => {
      const bench = new Bench();
      bench.hold(reason);
      await bench.pass(10);
      assert.equal(bench.said.length, 1);
      assert.match(bench.said[0]!, line);
      bench.producers = [];
      await bench.pass(3, 5);
      assert.deepEqual(bench.said.slice(1), ['continuing after 12 s']);
    });
  }

  it('asks and says nothing while receipts come, and while nothing is under way', async () => {
    const bench = new Bench();
    bench.hold(HoldReason.BACKLOG);
    await bench.pass(5, 1);
    bench.isWaiting = false;
    await bench.pass(5);
    assert.equal(bench.lookCount, 0);
    bench.notice.end(true);
    assert.equal(bench.said.length, 0);
    assert.equal(bench.timerCount, 0);
  });

  it('says nothing where the broker holds nothing, or does not answer', async () => {
    const bench = new Bench();
    bench.producers = [{ topic: 'orders' }];
    await bench.pass(3);
    bench.failure = new Error('no answer');
    await bench.pass(3);
    assert.equal(bench.lookCount, 6);
    assert.equal(bench.said.length, 0);
  });

  it('does not take a backlog that empties slowly for the end of the hold', async () => {
    const bench = new Bench();
    bench.hold(HoldReason.BACKLOG);
    for (let i = 0; i < 5; i++) {
      await bench.pass(2);
      await bench.pass(1, 1);
    }
    assert.equal(bench.said.length, 1);
    bench.notice.end(true);
    assert.deepEqual(bench.said.slice(1), ['continuing after 15 s']);
  });

  it('says so when the reason changes, and says each hold anew', async () => {
    const bench = new Bench();
    bench.hold(HoldReason.BACKLOG);
    await bench.pass(2);
    bench.hold(HoldReason.DISK);
    await bench.pass(2);
    await bench.pass(2, 1);
    await bench.pass(2);
    assert.deepEqual(
      bench.said.map((line) => line.slice(0, 30)),
      [
        'waiting: the backlog of orders',
        'waiting: the disk of the broke',
        'continuing after 6 s',
        'waiting: the disk of the broke',
      ],
    );
  });

  it('knows its own stream by topic and producer, and a stream of which nothing was read', async () => {
    const bench = new Bench('importer');
    bench.producers = [
      { topic: 'other', holdReason: HoldReason.SHARE },
      { topic: 'orders', producerId: 'another', holdReason: HoldReason.RECEIPTS },
    ];
    await bench.pass(1);
    assert.equal(bench.said.length, 0);
    bench.producers.push({ topic: '', holdReason: HoldReason.DISK });
    await bench.pass(1);
    bench.producers.push({ topic: 'orders', producerId: 'importer', holdReason: HoldReason.BACKLOG });
    await bench.pass(1);
    assert.deepEqual(
      bench.said.map((line) => line.slice(0, 20)),
      ['waiting: the disk of', 'waiting: the backlog'],
    );
  });

  it('does not say that it goes on where it is given up', async () => {
    const bench = new Bench();
    bench.hold(HoldReason.BACKLOG);
    await bench.pass(2);
    bench.notice.end(false);
    await bench.pass(2, 1);
    assert.equal(bench.said.length, 1);
  });
});

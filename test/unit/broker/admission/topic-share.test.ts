import assert from 'node:assert/strict';
import fc from 'fast-check';
import { limits } from '../../../../src/base/limits.js';
import { createRandom, type Random } from '../../../../src/base/random.js';
import { KiB, MiB } from '../../../../src/base/units.js';
import { PublishGate, type WriterQueue } from '../../../../src/broker/admission/publish-gate.js';
import { fairLevel, TopicLine } from '../../../../src/broker/admission/topic-line.js';
import { VirtualClock } from '../../../support/virtual-clock.js';

interface Load {
  readonly streams: number;
  readonly requestBytes: number;
  /** Turns of the event loop until a stream that was asked for its next request has sent it. */
  readonly turnsPerRequest: number;
  /** Turns after which a stream wants to send again. 0: it always has something to send. */
  readonly pauseTurns?: number;
}

interface Store {
  readonly queueBytes: number;
  readonly roundBytes: number;
  /** What a round takes, in turns: its sync, and its bytes. */
  readonly turnsPerSync: number;
  readonly bytesPerTurn: number;
}

const slowStore: Store = {
  queueBytes: 2 * MiB,
  roundBytes: 4 * MiB,
  turnsPerSync: 1,
  bytesPerTurn: 16 * KiB,
};

interface Entry {
  readonly topic: number;
  readonly bytes: number;
  readonly line: TopicLine;
}

/** What the server's streams ask of a gate. */
type Gate = Pick<PublishGate, 'isClosedFor' | 'wait' | 'submitted' | 'committed' | 'admit'>;
type MakeGate = (clock: VirtualClock, queue: WriterQueue) => Gate;

const fairGate: MakeGate = (clock, queue) => new PublishGate({ clock, queue });

/** One line of streams: what it writes is all that can be written. */
const plainGate: MakeGate = (clock, queue) => {
  const gate = new PublishGate({ clock, queue });
  const line = new TopicLine();
  return {
    isClosedFor: () => gate.isClosedFor(line),
    wait: (_, enter, requestBytes) => gate.wait(line, enter, requestBytes),
    submitted: (_, bytes) => gate.submitted(line, bytes),
    committed: (_, bytes) => gate.committed(line, bytes),
    admit: () => gate.admit(),
  };
};

/** A gate before a store that takes its time for each round, counted in turns of the event loop. */
class SlowStore implements WriterQueue {
  readonly lines: TopicLine[];
  readonly #writtenBytes: number[];
  readonly #store: Store;
  readonly #random: Random = createRandom(1);
  readonly #clock = new VirtualClock();
  readonly #gate: Gate;
  readonly #queue: Entry[] = [];
  /** At most two, as in the writer: one is written, one is ready. */
  readonly #rounds: Entry[][] = [];
  #roundEndsAt = 0;
  #waitingBytes = 0;
  #queuedBytes = 0;
  #turn = 0;
  /** What happens in which turn. */
  readonly #due = new Map<number, (() => void)[]>();

  constructor(store: Store, loads: readonly Load[], makeGate = fairGate) {
    this.#store = store;
    this.#gate = makeGate(this.#clock, this);
    this.lines = loads.map(() => new TopicLine());
    this.#writtenBytes = loads.map(() => 0);
    let opened = 0;
    for (const [topic, load] of loads.entries()) {
      for (let i = 0; i < load.streams; i += 1) this.#open(topic, load, ++opened);
    }
  }

  get roomBytes(): number {
    return this.#store.queueBytes - this.#queuedBytes;
  }

  /** Bytes of each topic that are written in so many turns. */
  async run(turns: number): Promise<number[]> {
    this.#writtenBytes.fill(0);
    for (let i = 0; i < turns; i += 1) {
      await this.#takeTurn();
      this.#gather();
      if (this.#rounds.length > 0 && this.#turn >= this.#roundEndsAt) await this.#commit();
    }
    return [...this.#writtenBytes];
  }

  #gather(): void {
    const count = this.#rounds.length;
    if (this.#waitingBytes === 0 || count === 2) return;
    if (count === 1 && this.#waitingBytes < limits.secondRoundBytes) return;
    const round: Entry[] = [];
    let bytes = 0;
    while (this.#queue.length > 0 && bytes < this.#store.roundBytes) {
      const entry = this.#queue.shift()!;
      round.push(entry);
      bytes += entry.bytes;
    }
    this.#waitingBytes -= bytes;
    this.#rounds.push(round);
    if (count === 0) this.#begin(round);
  }

  #begin(round: readonly Entry[]): void {
    const { turnsPerSync, bytesPerTurn } = this.#store;
    const bytes = round.reduce((total, entry) => total + entry.bytes, 0);
    this.#roundEndsAt = this.#turn + turnsPerSync + Math.ceil(bytes / bytesPerTurn);
  }

  async #commit(): Promise<void> {
    const round = this.#rounds.shift()!;
    for (const { bytes } of round) this.#queuedBytes -= bytes;
    for (const { topic, line, bytes } of round) {
      this.#gate.committed(line, bytes);
      this.#writtenBytes[topic]! += bytes;
    }
    this.#gate.admit();
    await Promise.resolve();
    if (this.#rounds.length > 0) this.#begin(this.#rounds[0]!);
    this.#gather();
  }

  async #takeTurn(): Promise<void> {
    this.#turn += 1;
    this.#clock.advance(1);
    for (const run of this.#due.get(this.#turn) ?? []) {
      run();
      // What is to be done before the event loop goes on.
      await Promise.resolve();
    }
    this.#due.delete(this.#turn);
  }

  #after(turns: number, run: () => void): void {
    const turn = this.#turn + Math.max(1, Math.round(turns));
    const due = this.#due.get(turn);
    if (due === undefined) this.#due.set(turn, [run]);
    else due.push(run);
  }

  /** A stream as the server runs it: asks the gate, reads a request, submits it, and asks again. */
  #open(topic: number, { requestBytes, turnsPerRequest, pauseTurns = 0 }: Load, atTurn: number): void {
    const line = this.lines[topic]!;
    const gate = this.#gate;
    const read = (releaseRoom: () => void) => {
      this.#after(turnsPerRequest, () => {
        releaseRoom();
        this.#queue.push({ topic, bytes: requestBytes, line });
        this.#queuedBytes += requestBytes;
        this.#waitingBytes += requestBytes;
        gate.submitted(line, requestBytes);
        if (pauseTurns === 0) ask();
        else this.#after(pauseTurns * (0.5 + this.#random.next()), ask);
      });
    };
    const ask = () => {
      if (!gate.isClosedFor(line)) read(() => {});
      else gate.wait(line, read, requestBytes);
    };
    this.#after(atTurn, ask);
  }
}

const many: Load = { streams: 1_000, requestBytes: 64 * KiB, turnsPerRequest: 1 };
const one: Load = { ...many, streams: 1 };
const sum = (bytes: readonly number[]) => bytes.reduce((total, each) => total + each, 0);

describe('topics that share a slow store', () => {
  const cases: readonly [string, Store, readonly Load[]][] = [
    ['one stream beside 1,000', slowStore, [many, one]],
    ['with the queue of the default size', { ...slowStore, queueBytes: 16 * MiB }, [many, one]],
    ['with small rounds', { ...slowStore, roundBytes: 256 * KiB }, [many, one]],
    ['with a request in two turns', slowStore, [many, { ...one, turnsPerRequest: 2 }]],
    ['beside 1,000 whose requests come late', slowStore, [{ ...many, turnsPerRequest: 80 }, one]],
    ['with small requests beside large ones', slowStore, [many, { ...one, requestBytes: 32 * KiB }]],
    ['with large requests beside small ones', slowStore, [{ ...many, requestBytes: 8 * KiB }, one]],
  ];
  /** After it has settled down: a thousand streams have been opened, and what they brought at once is written. */
  const warmUpTurns = 10_000;
  const turns = 10_000;

  async function measure(store: Store, loads: readonly Load[], gate = fairGate) {
    const slow = new SlowStore(store, loads, gate);
    await slow.run(warmUpTurns);
    const written = await slow.run(turns);
    return { written, total: sum(written), holdReasons: slow.lines.map(({ holdReason }) => holdReason) };
  }

  for (const [name, store, loads] of cases) {
    it(`${name}: 45 % of what is written, or more`, async () => {
      const { written, total, holdReasons } = await measure(store, loads);
      assert.ok(written[1]! >= 0.45 * total, `${written[1]} of ${total} bytes`);
      assert.equal(holdReasons[0], 'share');
      const plain = await measure(store, loads, plainGate);
      assert.ok(
        plain.written[1]! < 0.05 * plain.total,
        'one line of streams is as fair: the test shows nothing',
      );
      assert.ok(total >= 0.97 * plain.total, `${total} bytes, and ${plain.total} without shares`);
    });
  }

  it('four topics of 1 to 1,000 streams: a quarter each', async () => {
    const loads = [many, one, { ...many, streams: 30 }, { ...many, streams: 7 }];
    const { written, total } = await measure(slowStore, loads);
    for (const bytes of written) assert.ok(bytes >= 0.225 * total, `${bytes} of ${total} bytes`);
  });

  it('a topic that wants less than its share has all of it, and the other one has the rest', async () => {
    const distant: Load = { ...one, turnsPerRequest: 20 };
    const { written, total } = await measure(slowStore, [many, distant]);
    const alone = await measure(slowStore, [distant]);
    assert.ok(written[1]! >= 0.9 * alone.total, `${written[1]} bytes, and ${alone.total} alone`);
    const plain = await measure(slowStore, [many], plainGate);
    assert.ok(total >= 0.97 * plain.total, `${total} bytes together, and ${plain.total} without shares`);
  });

  it('a topic alone loses nothing', async () => {
    const { total, holdReasons } = await measure(slowStore, [many]);
    const plain = await measure(slowStore, [many], plainGate);
    assert.ok(total >= 0.99 * plain.total, `${total} bytes, and ${plain.total} without shares`);
    assert.equal(holdReasons[0], 'writer');
  });

  it('100 topics that send little keep no room from the one that sends much', async () => {
    const little: Load = { streams: 1, requestBytes: 1 * KiB, turnsPerRequest: 1, pauseTurns: 200 };
    const loads = [many, ...Array.from({ length: 100 }, () => little)];
    const { written, total } = await measure(slowStore, loads);
    const plain = await measure(slowStore, loads, plainGate);
    assert.ok(total >= 0.97 * plain.total, `${total} bytes, and ${plain.total} without shares`);
    const littleBytes = sum(written.slice(1));
    // Each of them can send some 40 times.
    assert.ok(littleBytes >= 100 * 30 * KiB, `${littleBytes} bytes of those that send little`);
  });

  it('a topic that falls silent leaves everything to the other one', async () => {
    const loads = [many, { ...one, streams: 100, pauseTurns: 1_000_000 }];
    const { total } = await measure(slowStore, loads);
    const plain = await measure(slowStore, loads, plainGate);
    assert.ok(total >= 0.99 * plain.total, `${total} bytes, and ${plain.total} without shares`);
  });
});

describe('fairLevel', () => {
  it('is the equal part of what those leave who want less', () => {
    assert.equal(fairLevel(100, [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]), 50);
    assert.equal(fairLevel(100, [10, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]), 45);
    assert.equal(fairLevel(100, [80, 10, 30]), 60);
    assert.equal(fairLevel(100, [10, 20]), Number.POSITIVE_INFINITY);
  });

  it('gives out all that there is, and no more', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1_000_000 }),
        fc.array(fc.integer({ min: 0, max: 100_000 }), { minLength: 1 }),
        (capacity, wanted) => {
          const level = fairLevel(capacity, wanted);
          const given = wanted.reduce((total, each) => total + Math.min(each, level), 0);
          const expected = Math.min(capacity, sum(wanted));
          assert.ok(Math.abs(given - expected) < 1e-3, `${given}, expected ${expected}`);
        },
      ),
    );
  });
});

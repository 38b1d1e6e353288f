import assert from 'node:assert/strict';
import type { Random } from '../../src/base/random.js';
import type { RoundLog, RoundLogEnd, RoundLogListener } from '../../src/storage/commit/round-log.js';
import { until } from '../support/until.js';
import { roundOf } from './log-database.js';

/** A log of rounds under test, of one process with one database. */
export interface OpenedLog {
  readonly log: RoundLog;
  /** The entries in the database of the process. */
  contents(): Promise<Record<string, string>>;
  /** Closes the log and the database, and opens them again. */
  reopen(): Promise<OpenedLog>;
  /** Closes the log and the database, and removes what they have stored. */
  dispose(): Promise<void>;
}

/** Everything that a log has called back, checked against the rules of `RoundLog`. */
export class Answers implements RoundLogListener {
  writtenBytes: number[] = [];
  committedPosition: number;
  end: RoundLogEnd | undefined;
  isCalling = false;

  constructor(log: RoundLog) {
    this.committedPosition = log.state.nextPosition - 1;
    log.listen(this);
  }

  written(block: ArrayBuffer): void {
    this.#check();
    this.writtenBytes.push(block.byteLength);
  }

  committed(position: number): void {
    this.#check();
    assert(position >= this.committedPosition, `${position} is committed after ${this.committedPosition}`);
    this.committedPosition = position;
  }

  ended(end: RoundLogEnd): void {
    this.#check();
    this.end = end;
  }

  /** Appends; nothing is answered meanwhile. */
  append(log: RoundLog, position: number, epoch: number, entries: Readonly<Record<string, string>>): void {
    this.isCalling = true;
    log.append(position, epoch, roundOf(entries));
    this.isCalling = false;
  }

  #check(): void {
    assert(!this.isCalling, 'an answer from within `append`');
    assert.equal(this.end, undefined, 'an answer after the end');
  }
}

/** What every `RoundLog` keeps to. `open` gives an empty log. */
export function describeRoundLog(name: string, open: () => Promise<OpenedLog>): void {
  describe(`the contract of a log of rounds: ${name}`, () => {
    let opened: OpenedLog;
    let answers: Answers;

    const listen = (next: OpenedLog): void => {
      opened = next;
      answers = new Answers(next.log);
    };
    beforeEach(async () => listen(await open()));
    afterEach(async () => await opened.dispose());

    /** Appends a round of these entries. Returns its position. */
    const append = (entries: Readonly<Record<string, string>>): number => {
      const { epoch, nextPosition } = opened.log.state;
      answers.append(opened.log, nextPosition, epoch, entries);
      return nextPosition;
    };
    const answered = (position: number, writtenCount: number): Promise<void> =>
      until(() => answers.committedPosition >= position && answers.writtenBytes.length >= writtenCount);

    it('commits and writes a round as a whole, and returns its block', async () => {
      const { byteLength } = roundOf({ a: '1', b: '2' }).block;
      await answered(append({ a: '1', b: '2' }), 1);
      assert.deepEqual(await opened.contents(), { a: '1', b: '2' });
      assert.deepEqual(answers.writtenBytes, [byteLength]);
    });

    it('takes rounds while earlier ones have no answer, and answers in their order', async () => {
      const texts = Array.from({ length: 20 }, (_, index) => 'x'.repeat(index + 1));
      const positions = texts.map((text) => append({ last: text, [text]: '' }));
      const first = positions[0]!;
      assert.deepEqual(
        positions,
        [...positions.keys()].map((index) => first + index),
      );
      await answered(positions.at(-1)!, texts.length);
      assert.deepEqual(
        answers.writtenBytes,
        texts.map((text) => roundOf({ last: text, [text]: '' }).block.byteLength),
      );
      assert.equal((await opened.contents()).last, texts.at(-1));
      assert.equal(answers.committedPosition, positions.at(-1));
    });

    it('answers what was appended before it closes, and keeps it', async () => {
      for (const key of ['a', 'b', 'c']) append({ [key]: key });
      const { nextPosition } = opened.log.state;
      const before = answers;
      listen(await opened.reopen());
      assert.deepEqual([before.committedPosition, before.writtenBytes.length], [nextPosition - 1, 3]);
      assert.deepEqual(await opened.contents(), { a: 'a', b: 'b', c: 'c' });
    });

    it('goes on at the next position after it was opened again', async () => {
      const position = append({ a: '1' });
      await answered(position, 1);
      listen(await opened.reopen());
      assert.equal(append({ a: '2' }), position + 1);
      await answered(position + 1, 1);
      assert.deepEqual(await opened.contents(), { a: '2' });
    });

    it('ends fenced, stores nothing of another epoch, and nothing afterwards', async () => {
      await answered(append({ a: 'committed' }), 1);
      const { epoch, nextPosition } = opened.log.state;
      answers.append(opened.log, nextPosition, epoch - 1, { a: 'refused' });
      await until(() => answers.end !== undefined);
      assert.deepEqual(answers.end, { kind: 'fenced' });
      answers.append(opened.log, nextPosition, epoch, { a: 'late' });
      const before = answers;
      listen(await opened.reopen());
      assert.deepEqual(await opened.contents(), { a: 'committed' });
      assert.deepEqual([before.committedPosition, before.writtenBytes.length], [nextPosition - 1, 1]);
      await answered(append({ b: 'next' }), 1);
      assert.deepEqual(await opened.contents(), { a: 'committed', b: 'next' });
    });
  });
}

/** One of the processes that share a log. Each has a database of its own. */
export interface LogMember {
  /** The log since the last takeover by this member. */
  readonly log: RoundLog;
  /** Begins an epoch, and writes the rounds that the log has and the database has not. */
  takeOver(): Promise<void>;
  contents(): Promise<Record<string, string>>;
  dispose(): Promise<void>;
}

const takeoverCount = 200;
const mostUnderWay = 4;

/** The member that appends keeps so many rounds under way until the next one takes over. Returns its answers. */
async function leadUntilTakeover(
  leader: LogMember,
  next: LogMember,
  underWay: number,
  random: Random,
): Promise<Answers> {
  const { log } = leader;
  const { epoch } = log.state;
  const answers = new Answers(log);
  const append = () => {
    const { nextPosition } = log.state;
    answers.append(log, nextPosition, epoch, { [nextPosition]: `${epoch}`, last: `${nextPosition}` });
  };
  for (let turns = random.next() * 20; turns >= 0; turns--) {
    while (log.state.nextPosition - answers.committedPosition <= underWay) append();
    await new Promise(setImmediate);
  }
  await next.takeOver();
  // If everything was answered before, only a further round shows that the log is fenced.
  if (answers.end === undefined) append();
  await until(() => answers.end !== undefined);
  assert.deepEqual(answers.end, { kind: 'fenced' });
  return answers;
}

/** The epochs of the rounds in a database, by position. */
function checkRounds({ last, ...rounds }: Record<string, string>): number[] {
  const positions = Object.keys(rounds).map(Number);
  positions.sort((left, right) => left - right);
  assert.deepEqual(
    positions,
    positions.map((_, index) => index + 1),
    'a gap',
  );
  assert.equal(last, `${positions.length}`, 'the last round is not the newest');
  const epochs = positions.map((position) => Number(rounds[position]));
  assert.deepEqual(
    epochs,
    epochs.toSorted((left, right) => left - right),
    'a round of an earlier epoch behind a takeover',
  );
  return epochs;
}

/** What a log that several processes share keeps to. `random` says when a process takes over. */
export function describeTakeover(
  name: string,
  open: () => Promise<readonly [LogMember, LogMember]>,
  random: Random,
): void {
  it(`stores nothing behind a takeover, and keeps what was committed before: ${name}`, async () => {
    let [leader, next] = await open();
    /** The epochs of the rounds that a member was told to be committed, by position. */
    const committed = new Map<number, number>();
    for (let takeover = 0; takeover < takeoverCount; takeover++) {
      const { epoch, nextPosition } = leader.log.state;
      const answers = await leadUntilTakeover(leader, next, 1 + (takeover % mostUnderWay), random);
      for (let position = nextPosition; position <= answers.committedPosition; position++) {
        committed.set(position, epoch);
      }
      [leader, next] = [next, leader];
    }
    const contents = await leader.contents();
    const epochs = checkRounds(contents);
    assert(committed.size > takeoverCount, 'hardly anything was committed');
    for (const [position, epoch] of committed) assert.equal(epochs[position - 1], epoch, `round ${position}`);
    await next.takeOver();
    assert.deepEqual(await next.contents(), contents);
    await leader.dispose();
    await next.dispose();
  });
}

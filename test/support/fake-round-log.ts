import type { Random } from '../../src/base/random.js';
import type {
  AppendedRound,
  RoundLog,
  RoundLogEnd,
  RoundLogListener,
  RoundLogState,
} from '../../src/storage/commit/round-log.js';

export interface SharedRound {
  readonly position: number;
  readonly epoch: number;
  readonly bytes: Buffer;
}

/** A log of rounds that several processes share, as a service outside of them keeps it. In memory. */
export class SharedLog {
  readonly #rounds = new Map<number, SharedRound>();
  readonly #firstPosition: number;
  #epoch = 1;

  constructor(firstPosition: number) {
    this.#firstPosition = firstPosition;
  }

  get epoch(): number {
    return this.#epoch;
  }

  /** The position behind the last round that has all rounds before it. */
  get nextPosition(): number {
    let position = this.#firstPosition;
    while (this.#rounds.has(position)) position++;
    return position;
  }

  /**
   * Stores a round if its epoch is the present one and its position is free. True also if the position has this very
   * round: it was put before, and the answer was lost.
   */
  put(round: SharedRound): boolean {
    const known = this.#rounds.get(round.position);
    if (known !== undefined) return known.epoch === round.epoch && known.bytes.equals(round.bytes);
    if (round.epoch !== this.#epoch) return false;
    this.#rounds.set(round.position, round);
    return true;
  }

  /** Begins an epoch. Drops the rounds behind a gap: none of them was ever committed. */
  takeOver(): number {
    this.#epoch++;
    const { nextPosition } = this;
    for (const position of this.#rounds.keys()) if (position >= nextPosition) this.#rounds.delete(position);
    return this.#epoch;
  }

  /** The rounds from this position up to the first gap. */
  read(from: number): SharedRound[] {
    const rounds: SharedRound[] = [];
    for (let round = this.#rounds.get(from); round !== undefined; round = this.#rounds.get(from)) {
      rounds.push(round);
      from++;
    }
    return rounds;
  }
}

/** What becomes of a request to the shared log. A request or an answer that is lost is repeated by the process. */
export type Fate = 'served' | 'request-lost' | 'answer-lost' | 'answered-twice';

export interface Network {
  /** Called for each try of a request. Resolves when the request reaches the shared log, or is lost. */
  pass(position: number): Promise<Fate>;
}

/** The test says what is lost, and when requests go on. */
export class HeldNetwork implements Network {
  readonly #fates: Fate[];
  readonly #held: { readonly position: number; readonly go: () => void }[] = [];
  isHolding = false;

  /** The fates of the next requests. All later requests are served. */
  constructor(...fates: Fate[]) {
    this.#fates = fates;
  }

  /** The positions of the requests that wait. */
  get heldPositions(): number[] {
    return this.#held.map(({ position }) => position);
  }

  async pass(position: number): Promise<Fate> {
    if (this.isHolding) await new Promise<void>((go) => this.#held.push({ position, go }));
    return this.#fates.shift() ?? 'served';
  }

  /** Lets the request of one position pass. */
  release(position: number): void {
    const index = this.heldPositions.indexOf(position);
    for (const { go } of this.#held.splice(index, index < 0 ? 0 : 1)) go();
  }

  releaseAll(): void {
    this.isHolding = false;
    for (const { go } of this.#held.splice(0)) go();
  }
}

/** Requests take some turns of the event loop and overtake each other. One in three is lost, or its answer is. */
export class RandomNetwork implements Network {
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  async pass(): Promise<Fate> {
    for (let turns = this.#random.next() * 4; turns >= 1; turns--) await new Promise(setImmediate);
    const chance = this.#random.next();
    if (chance < 1 / 6) return 'request-lost';
    if (chance < 2 / 6) return 'answer-lost';
    return chance < 3 / 6 ? 'answered-twice' : 'served';
  }
}

export interface FakeRoundLogOptions {
  /** Writes a round to the database before the shared log has it. Otherwise afterwards. */
  readonly writesFirst?: boolean;
}

/** The log of one process: a client of the shared log, which writes to the database through the local log. */
export class FakeRoundLog implements RoundLog {
  readonly #epoch: number;
  readonly #shared: SharedLog;
  readonly #local: RoundLog;
  readonly #network: Network;
  readonly #writesFirst: boolean;
  #listener: RoundLogListener | undefined;
  /** Rounds that the shared log has stored, and not all before them. */
  readonly #stored = new Map<number, AppendedRound>();
  #appendedPosition: number;
  #committedPosition: number;
  /** Rounds without an answer, and rounds that are being written. */
  #requestCount = 0;
  #writeCount = 0;
  #writtenCount = 0;
  #onSettled: (() => void) | undefined;
  #hasEnded = false;

  constructor(shared: SharedLog, local: RoundLog, network: Network, options: FakeRoundLogOptions = {}) {
    this.#shared = shared;
    this.#local = local;
    this.#network = network;
    this.#writesFirst = options.writesFirst ?? false;
    this.#epoch = shared.epoch;
    this.#appendedPosition = shared.nextPosition - 1;
    this.#committedPosition = this.#appendedPosition;
  }

  get state(): RoundLogState {
    return { epoch: this.#epoch, nextPosition: this.#appendedPosition + 1 };
  }

  /** Rounds that are being written to the database. */
  get writeCount(): number {
    return this.#writeCount;
  }

  /** Rounds that the database has, since the log was opened. */
  get writtenCount(): number {
    return this.#writtenCount;
  }

  listen(listener: RoundLogListener): void {
    this.#listener = listener;
    this.#local.listen({
      written: (block) => {
        this.#writeCount--;
        this.#writtenCount++;
        if (!this.#hasEnded) listener.written(block);
        this.#checkSettled();
      },
      committed() {},
      ended: (end) => this.#end(end),
    });
  }

  append(position: number, epoch: number, round: AppendedRound): void {
    if (this.#hasEnded) return;
    this.#appendedPosition = position;
    this.#requestCount++;
    const bytes = Buffer.from(Buffer.from(round.block, 0, round.usedBytes));
    if (this.#writesFirst) this.#write(round);
    void this.#store({ position, epoch, bytes }, round);
  }

  /** Resolves when every round has its answer and is written; after the end, when no round is being written. */
  async settled(): Promise<void> {
    if (!this.#isSettled) await new Promise<void>((resolve) => (this.#onSettled = resolve));
  }

  async close(): Promise<void> {
    await this.settled();
    await this.#local.close();
  }

  async #store(shared: SharedRound, round: AppendedRound): Promise<void> {
    for (;;) {
      const fate = await this.#network.pass(shared.position);
      if (fate === 'request-lost') continue;
      const isStored = this.#shared.put(shared);
      if (fate === 'answer-lost') continue;
      this.#answered(shared.position, isStored, round);
      if (fate === 'answered-twice' && !this.#hasEnded) this.#listener?.committed(this.#committedPosition);
      this.#requestCount--;
      this.#checkSettled();
      return;
    }
  }

  #answered(position: number, isStored: boolean, round: AppendedRound): void {
    if (this.#hasEnded) return;
    if (!isStored) {
      this.#end({ kind: 'fenced' });
      return;
    }
    this.#stored.set(position, round);
    const committed: AppendedRound[] = [];
    for (;;) {
      const next = this.#stored.get(this.#committedPosition + 1);
      if (next === undefined) break;
      this.#committedPosition++;
      this.#stored.delete(this.#committedPosition);
      committed.push(next);
    }
    if (committed.length > 0) this.#listener?.committed(this.#committedPosition);
    if (!this.#writesFirst) for (const next of committed) this.#write(next);
  }

  #write(round: AppendedRound): void {
    this.#writeCount++;
    const { nextPosition, epoch } = this.#local.state;
    this.#local.append(nextPosition, epoch, round);
  }

  #end(end: RoundLogEnd): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    if (end.kind !== 'fenced') this.#writeCount = 0;
    this.#listener?.ended(end);
    this.#checkSettled();
  }

  get #isSettled(): boolean {
    return this.#writeCount === 0 && (this.#hasEnded || this.#requestCount === 0);
  }

  #checkSettled(): void {
    if (this.#isSettled) this.#onSettled?.();
  }
}

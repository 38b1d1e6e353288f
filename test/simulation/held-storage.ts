import { silentLogger } from '../../src/base/logger.js';
import type { CursorState } from '../../src/base/positions.js';
import { createRandom, type Random } from '../../src/base/random.js';
import { MiB } from '../../src/base/units.js';
import { openStorage } from '../../src/storage/storage.js';
import type {
  LogReader,
  PartitionExtent,
  Storage,
  StorageListener,
  StorageUsage,
  StoredRun,
  Transaction,
} from '../../src/storage/types.js';
import { changesOfKind } from '../support/changes.js';
import { FakeRoundLog, RandomNetwork, SharedLog } from '../support/fake-round-log.js';
import type { CutClock } from './simulated-clock.js';

export const storeOptions = {
  maxPartitionCount: 3,
  acceptDataLoss: false,
  minFreeDiskBytes: 0,
  tailBytes: 16 * MiB,
  writerQueueBytes: 16 * MiB,
  concurrentReads: 8,
  readAheadBytes: 64 * MiB,
};

/** Who compares what the broker does to its store with what it should. */
export interface StorageWatcher {
  /** Offsets have been given; nothing is on the disk yet. What made the broker submit it is in force. */
  submitted(transaction: Transaction, firstOffsets: readonly number[]): void;
  /** The broker is about to hear that it is on the disk. */
  committed(transaction: Transaction, firstOffsets: readonly number[]): void;
  recovered(subscriptionId: number, cursors: ReadonlyMap<number, CursorState>): void;
  /** Retention is about to remove everything below. */
  removing(topicId: number, partition: number, offset: number): void;
  lookedUp(partition: number, timeMs: number, offset: number): void;
}

/** After so many turns of the event loop in which the broker asks for nothing, it waits for an answer. */
const quietTurns = 3;

type HeldKind = 'read' | 'lookup' | 'removal';

/** A call of the broker that has not been answered. */
interface HeldCall {
  readonly kind: HeldKind;
  readonly answer: () => void;
}

/**
 * The real store, which answers when the simulation says so, on a log of rounds that loses requests and answers. Commits are answered in order, a round at a time;
 * reads, lookups and removals in any order. What the broker has not been told of a commit it does not see either.
 *
 * Between two steps nothing is on its way to or from the disk (`quiesce`): so which transactions share a round, and
 * what is on the disk when the broker crashes, follows from the seed alone.
 */
export class HeldStorage implements Storage {
  readonly #real: Storage;
  #listener: StorageListener = { grown() {}, room() {} };
  readonly #watcher: StorageWatcher;
  readonly #random: Random;
  /** Ends as the broker knows them, and as they were at opening: what came later is in the tail. */
  readonly #ends = new Map<string, number>();
  readonly #openedEnds: ReadonlyMap<string, number>;
  #round: (() => void)[] = [];
  readonly #rounds: (() => void)[][] = [];
  #calls: HeldCall[] = [];
  #underWayCount = 0;
  /** Calls of the broker so far. */
  #activityCount = 0;
  #onQuiet: (() => void) | undefined;
  #isCut = false;
  #hasRoom = true;
  /** Answers are not held any more. */
  isPrompt = false;

  private constructor(real: Storage, watcher: StorageWatcher, random: Random) {
    this.#real = real;
    this.#watcher = watcher;
    this.#random = random;
    for (const { topicId, config } of real.recovered.topics) {
      for (let partition = 0; partition < config.partitionCount; partition += 1) {
        this.#ends.set(`${topicId}/${partition}`, real.extent(topicId, partition).endOffset);
      }
    }
    this.#openedEnds = new Map(this.#ends);
  }

  static async open(
    directory: string,
    clock: CutClock,
    watcher: StorageWatcher,
    random: Random,
  ): Promise<HeldStorage> {
    const writesFirst = random.next() < 0.5;
    // Has a source of its own: how often a request is tried again depends on time, and no other part of the run does.
    const network = new RandomNetwork(createRandom(Math.floor(random.next() * 2 ** 32)));
    const real = await openStorage(
      { ...storeOptions, directory },
      {
        clock,
        logger: silentLogger,
        roundLog: (local) => {
          return new FakeRoundLog(new SharedLog(local.state.nextPosition), local, network, { writesFirst });
        },
      },
    );
    const held = new HeldStorage(real, watcher, random);
    real.listen({ grown: (...growth) => held.grown(...growth), room() {} });
    return held;
  }

  get failed(): Promise<Error> {
    return this.#real.failed;
  }

  listen(listener: StorageListener): void {
    this.#listener = listener;
  }

  // --- What the simulation does -----------------------------------------------------------------------------

  get heldRoundCount(): number {
    return this.#rounds.length;
  }

  get heldCallCount(): number {
    return this.#calls.length;
  }

  /** Resolves when the disk has done all that it was asked to, and the broker all that it can without an answer. */
  async quiesce(): Promise<void> {
    let activityCount: number;
    do {
      activityCount = this.#activityCount;
      if (this.#underWayCount > 0) await new Promise<void>((resolve) => (this.#onQuiet = resolve));
      // A redrive pauses for a turn before each read.
      for (let i = 0; i < quietTurns; i += 1) await turn();
    } while (this.#underWayCount > 0 || activityCount !== this.#activityCount);
    if (this.#round.length > 0) this.#rounds.push(this.#round);
    this.#round = [];
  }

  answerRound(): void {
    for (const answer of this.#rounds.shift() ?? []) answer();
  }

  answerCall(index: number): HeldKind | undefined {
    const [call] = this.#calls.splice(index, 1);
    call?.answer();
    return call?.kind;
  }

  /** Makes the writer's queue full, or not. */
  setRoom(hasRoom: boolean): void {
    const wasFull = !this.#hasRoom;
    this.#hasRoom = hasRoom;
    if (wasFull && hasRoom) this.#listener.room();
  }

  /** The broker has crashed: it hears nothing any more, and what it still does has no effect. */
  cut(): void {
    this.#isCut = true;
    this.#calls = [];
    this.#rounds.length = 0;
  }

  /** Everything of one partition that is kept, from the real store. */
  async readAll(topicId: number, partition: number): Promise<{ firstOffset: number; entries: Buffer[] }> {
    const { firstOffset, endOffset } = this.#real.extent(topicId, partition);
    const reader = this.#real.openReader(topicId, partition);
    const entries: Buffer[] = [];
    while (firstOffset + entries.length < endOffset) {
      const offset = firstOffset + entries.length;
      for (const run of await reader.read(offset, MiB)) {
        for (let i = 0; i < run.count; i += 1) {
          if (run.firstOffset + i >= firstOffset) entries.push(entryOf(run, i));
        }
      }
    }
    reader.close();
    return { firstOffset, entries };
  }

  // --- What the broker does ---------------------------------------------------------------------------------

  get recovered(): Storage['recovered'] {
    return this.#real.recovered;
  }

  get warnings(): readonly string[] {
    return this.#real.warnings;
  }

  nextTopicId(): number {
    return this.#real.nextTopicId();
  }

  nextSubscriptionId(): number {
    return this.#real.nextSubscriptionId();
  }

  submit(transaction: Transaction): readonly number[] {
    if (this.#isCut) return changesOfKind(transaction.changes, 'append').map(() => 0);
    this.#activityCount += 1;
    this.#underWayCount += 1;
    const firstOffsets = this.#real.submit({
      ...transaction,
      onCommitted: () => {
        this.#finish();
        this.#deliver(() => {
          this.#watcher.committed(transaction, firstOffsets);
          transaction.onCommitted?.();
        });
      },
      onFailed: (error) => {
        this.#finish();
        transaction.onFailed?.(error);
      },
    });
    this.#watcher.submitted(transaction, firstOffsets);
    return firstOffsets;
  }

  grown(topicId: number, partition: number, endOffset: number): void {
    this.#deliver(() => {
      this.#ends.set(`${topicId}/${partition}`, endOffset);
      this.#listener.grown(topicId, partition, endOffset);
    });
  }

  get usage(): StorageUsage {
    return this.#real.usage;
  }

  get roomBytes(): number {
    return this.#hasRoom ? this.#real.roomBytes : -1;
  }

  get hasRoom(): boolean {
    return this.#hasRoom;
  }

  get submittedBytes(): number {
    return this.#real.submittedBytes;
  }

  get queuedBytes(): number {
    return this.#real.queuedBytes;
  }

  extent(topicId: number, partition: number): PartitionExtent {
    const extent = this.#real.extent(topicId, partition);
    return { ...extent, endOffset: this.#endOf(topicId, partition) };
  }

  openReader(topicId: number, partition: number): LogReader {
    const reader = this.#real.openReader(topicId, partition);
    const openedEnd = this.#openedEnds.get(`${topicId}/${partition}`) ?? 0;
    let closings = 0;
    const visible = (runs: readonly StoredRun[]) =>
      runs.filter(({ firstOffset }) => firstOffset < this.#endOf(topicId, partition));
    return {
      read: (offset, maxBytes) => {
        this.#activityCount += 1;
        if (offset >= this.#endOf(topicId, partition)) return [];
        const isInTail = offset >= openedEnd;
        if (isInTail && (this.isPrompt || this.#random.next() < 0.6)) {
          const runs = reader.read(offset, maxBytes);
          if (runs instanceof Promise) throw new Error('the tail has lost what it was to keep');
          return visible(runs);
        }
        // How much of the disk is in memory depends on time: one run is the same whenever it is read.
        const read = async () => visible((await reader.read(offset, maxBytes)).slice(0, isInTail ? 9 : 1));
        const closingsBefore = closings;
        const readUnlessClosed = async () => (closings === closingsBefore ? read() : []);
        return this.#hold('read', readUnlessClosed, this.#random.next() < 0.5);
      },
      close: () => {
        closings += 1;
        reader.close();
      },
    };
  }

  offsetAt(topicId: number, partition: number, timeMs: number): Promise<number> {
    return this.#hold('lookup', async () => {
      const found = await this.#real.offsetAt(topicId, partition, timeMs);
      const offset = Math.min(found, this.#endOf(topicId, partition));
      this.#watcher.lookedUp(partition, timeMs, offset);
      return offset;
    });
  }

  bytesFrom(topicId: number, partition: number, offset: number): Promise<number> {
    return this.#hold('lookup', () => this.#real.bytesFrom(topicId, partition, offset));
  }

  offsetOfNewest(topicId: number, partition: number, bytes: number): Promise<number> {
    return this.#hold('lookup', async () => {
      const offset = await this.#real.offsetOfNewest(topicId, partition, bytes);
      return Math.min(offset, this.#endOf(topicId, partition));
    });
  }

  removeBelow(topicId: number, partition: number, offset: number): Promise<void> {
    if (!this.#isCut) this.#watcher.removing(topicId, partition, offset);
    return this.#hold('removal', () => this.#real.removeBelow(topicId, partition, offset));
  }

  readProducer(topicId: number, producerId: string): ReturnType<Storage['readProducer']> {
    return this.#hold('lookup', () => this.#real.readProducer(topicId, producerId));
  }

  async readCursors(
    subscriptionId: number,
    partitionCount: number,
  ): Promise<ReadonlyMap<number, CursorState>> {
    const cursors = await this.#real.readCursors(subscriptionId, partitionCount);
    this.#watcher.recovered(subscriptionId, cursors);
    return cursors;
  }

  readDeadLetter(subscriptionId: number, partition: number, offset: number) {
    return this.#track(this.#real.readDeadLetter(subscriptionId, partition, offset));
  }

  readDeadLetterOffsets(
    subscriptionId: number,
    partition: number,
    first: number,
    last: number,
    limit: number,
  ) {
    return this.#track(this.#real.readDeadLetterOffsets(subscriptionId, partition, first, last, limit));
  }

  readRedrives(subscriptionId: number, deadLetterTopicId: number) {
    return this.#track(this.#real.readRedrives(subscriptionId, deadLetterTopicId));
  }

  close(): Promise<void> {
    return this.#real.close();
  }

  // --- The machinery ----------------------------------------------------------------------------------------

  #endOf(topicId: number, partition: number): number {
    return this.#ends.get(`${topicId}/${partition}`) ?? 0;
  }

  #deliver(answer: () => void): void {
    if (this.#isCut) return;
    if (this.isPrompt) answer();
    else this.#round.push(answer);
  }

  /** The real store is asked now (and its answer kept), or when the answer is due. */
  #hold<T>(kind: HeldKind, ask: () => Promise<T>, isAskedNow = false): Promise<T> {
    const asked = isAskedNow ? this.#track(ask()) : undefined;
    // The caller that waits for the answer gets the failure; until then it is unhandled.
    asked?.catch(() => {});
    if (this.isPrompt) return asked ?? this.#track(ask());
    return new Promise((resolve) => {
      this.#calls.push({ kind, answer: () => resolve(asked ?? this.#track(ask())) });
    });
  }

  async #track<T>(asked: Promise<T>): Promise<T> {
    this.#activityCount += 1;
    this.#underWayCount += 1;
    try {
      return await asked;
    } finally {
      this.#finish();
    }
  }

  #finish(): void {
    this.#underWayCount -= 1;
    if (this.#underWayCount === 0) this.#onQuiet?.();
  }
}

/** Message `index` of a run: its encoded `messages` field. */
export function entryOf(run: StoredRun, index: number): Buffer {
  const start = index === 0 ? 0 : run.ends[index - 1]!;
  return Buffer.from(run.messages.subarray(start, run.ends[index]!));
}

/** Everything that was due has run: promises, and what was put off to the end of this turn. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

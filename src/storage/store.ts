import { SluiceError } from '../base/errors.js';
import { Fifo } from '../base/fifo.js';
import { endOnDefect } from '../base/invariant.js';
import { limits } from '../base/limits.js';
import type { Logger } from '../base/logger.js';
import type { CursorState } from '../base/positions.js';
import { SpareMemory } from '../base/spare-memory.js';
import { LocalRoundLog } from './commit/local-round-log.js';
import { PublishClock } from './commit/publish-clock.js';
import type { RoundLog, RoundLogEnd } from './commit/round-log.js';
import { planRound, type RoundPlan, runsOfRound } from './commit/round-planner.js';
import { Sequencer } from './commit/sequencer.js';
import { createSubmission } from './commit/submission.js';
import { Writer } from './commit/writer.js';
import { damageMessage, type Engine, engineFault, engineMessage, storeClosed } from './engine/engine.js';
import { LogPositions } from './log/log-positions.js';
import type { PartitionLog } from './log/partition-log.js';
import { PointReads } from './log/point-reads.js';
import { ReadSlots } from './log/read-slots.js';
import { Readers } from './log/readers.js';
import { Tail } from './log/tail.js';
import { DiskReserve } from './recovery/disk-reserve.js';
import { SyncedOffsetsFile } from './recovery/synced-offsets.js';
import { type DamageSite, describeDamage } from './recovery/table-damage.js';
import type { StorageServices } from './services.js';
import type { Opened, StoreState } from './store-state.js';
import type {
  DeadLetterNote,
  LogReader,
  PartitionExtent,
  ProducerState,
  Storage,
  StorageListener,
  StorageOptions,
  StorageUsage,
  Transaction,
} from './types.js';

export class Store implements Storage {
  readonly recovered: Storage['recovered'];
  readonly warnings: readonly string[];
  readonly #engine: Engine;
  readonly failed: Promise<Error>;
  #listener: StorageListener = { grown() {}, room() {} };
  #reportFailure: (error: Error) => void = () => {};
  readonly #damageSite: DamageSite;
  readonly #logger: Logger;
  readonly #sequencer: Sequencer;
  readonly #writer: Writer;
  /** Recycled round buffers. Stale views are detached when a buffer is used again; they never show other bytes. */
  readonly #memory = new SpareMemory(limits.spareRoundBytes);
  readonly #tail: Tail;
  readonly #positions: LogPositions;
  readonly #readers: Readers;
  readonly #reads: PointReads;
  readonly #syncedOffsets: SyncedOffsetsFile;
  readonly #reserve: DiskReserve;
  readonly #log: RoundLog;
  readonly #epoch: number;
  #nextPosition: number;
  /** The last round that readers see, and whose submitters are answered. */
  #shownPosition: number;
  #committedPosition: number;
  /** The blocks of rounds that are written and not yet committed, oldest first. */
  readonly #uncommitted = new Fifo<ArrayBuffer>();
  #state: StoreState = { kind: 'open' };
  /** Partitions that have grown since the last sync. */
  readonly #unsynced = new Set<PartitionLog>();
  #closed: Promise<void> | undefined;
  #onIdle: (() => void) | undefined;
  /** Resolves when a failure is reported. */
  #reported: Promise<void> | undefined;

  private constructor(
    log: RoundLog,
    { engine, recovered, syncedOffsetsPath, paths, warnings }: Opened,
    options: StorageOptions,
    { clock, logger }: StorageServices,
  ) {
    this.#log = log;
    const { epoch, nextPosition } = log.state;
    this.#epoch = epoch;
    this.#nextPosition = nextPosition;
    this.#shownPosition = nextPosition - 1;
    this.#committedPosition = nextPosition - 1;
    this.recovered = { topics: [...recovered.topics.values()], subscriptions: recovered.subscriptions };
    this.warnings = warnings;
    this.#engine = engine;
    this.failed = new Promise((resolve) => {
      this.#reportFailure = resolve;
    });
    this.#logger = logger;
    this.#sequencer = new Sequencer(recovered, options.maxPartitionCount);
    this.#damageSite = { engine, logsOf: (partition) => this.#sequencer.logsOf(partition), ...paths };
    const publishClock = new PublishClock(clock, logger, recovered.lastPublishTimeMs);
    this.#tail = new Tail(options.tailBytes, this.#memory);
    const slots = new ReadSlots(options.concurrentReads);
    this.#positions = new LogPositions(engine, slots);
    this.#readers = new Readers(clock, engine, slots, options.readAheadBytes);
    this.#reads = new PointReads(engine);
    this.#writer = new Writer(options.writerQueueBytes, {
      plan: (submissions) => {
        return planRound(submissions, {
          ...this.#sequencer.counters,
          publishTimeMs: publishClock.next(),
          memory: this.#memory,
        });
      },
      send: (plan) => this.#log.append(this.#nextPosition++, this.#epoch, plan),
      soon: (run) => setImmediate(run),
    });
    const { directory, minFreeDiskBytes } = options;
    this.#reserve = new DiskReserve({
      directory,
      minFreeDiskBytes,
      databasePath: paths.databasePath,
      clock,
      logger,
    });
    this.#syncedOffsets = new SyncedOffsetsFile({
      path: syncedOffsetsPath,
      clock,
      logger,
      collect: () => this.#sequencer.syncedOffsets(),
      written: () => this.#retireDeletions(),
    });
  }

  static async start(opened: Opened, options: StorageOptions, services: StorageServices): Promise<Store> {
    const local = await LocalRoundLog.start(opened.engine, opened.noteFiles);
    const log = services.roundLog?.(local) ?? local;
    const store = new Store(log, opened, options, services);
    log.listen({
      written: (block) => store.#written(block),
      committed: (position) => store.#committed(position),
      ended: (end) => store.#ended(end),
    });
    store.#reserve.start();
    // An accepted loss must not be found again, and finished deletions must not be kept.
    if (opened.warnings.length > 0 || store.#sequencer.hasDeletions) store.#syncedOffsets.changed();
    return store;
  }

  listen(listener: StorageListener): void {
    this.#listener = listener;
  }

  nextTopicId(): number {
    return this.#sequencer.nextTopicId();
  }

  nextSubscriptionId(): number {
    return this.#sequencer.nextSubscriptionId();
  }

  submit(transaction: Transaction): readonly number[] {
    this.#checkOpen();
    const { submission, firstOffsets } = this.#sequencer.accept(transaction);
    this.#writer.enqueue(submission);
    return firstOffsets;
  }

  get usage(): StorageUsage {
    return {
      queuedBytes: this.#writer.queuedBytes,
      tailBytes: this.#tail.byteLength,
      readAheadBytes: this.#readers.heldBytes,
      spareRoundBytes: this.#memory.spareBytes,
    };
  }

  get roomBytes(): number {
    return this.#writer.roomBytes;
  }

  get hasRoom(): boolean {
    return this.#writer.hasRoom;
  }

  get submittedBytes(): number {
    return this.#writer.submittedBytes;
  }

  get queuedBytes(): number {
    return this.#writer.queuedBytes;
  }

  extent(topicId: number, partition: number): PartitionExtent {
    const log = this.#sequencer.log(topicId, partition);
    return {
      firstOffset: log.firstOffset,
      endOffset: log.endOffset,
      bytes: log.endPosition - log.firstPosition,
    };
  }

  openReader(topicId: number, partition: number): LogReader {
    return this.#readers.open(this.#sequencer.log(topicId, partition));
  }

  offsetAt(topicId: number, partition: number, timeMs: number): Promise<number> {
    return this.#positions.offsetAt(this.#sequencer.log(topicId, partition), timeMs);
  }

  offsetOfNewest(topicId: number, partition: number, bytes: number): Promise<number> {
    return this.#positions.offsetOfNewest(this.#sequencer.log(topicId, partition), bytes);
  }

  async bytesFrom(topicId: number, partition: number, offset: number): Promise<number> {
    const log = this.#sequencer.log(topicId, partition);
    if (offset >= log.endOffset) return 0;
    if (offset <= log.firstOffset) return log.endPosition - log.firstPosition;
    const position = await this.#positions.positionOf(log, offset);
    return log.endPosition - Math.max(position, log.firstPosition);
  }

  async removeBelow(topicId: number, partition: number, offset: number): Promise<void> {
    const log = this.#sequencer.log(topicId, partition);
    const firstOffset = Math.min(offset, log.endOffset);
    if (firstOffset <= log.firstOffset) return;
    const firstPosition = await this.#positions.positionOf(log, firstOffset);
    // The partition may have changed during the await.
    if (log.isDeleted || firstOffset <= log.firstOffset) return;
    this.#checkOpen();
    log.firstOffset = firstOffset;
    log.firstPosition = firstPosition;
    await new Promise<void>((onCommitted, onFailed) => {
      const transaction: Transaction = { durability: 'written', onCommitted, onFailed };
      this.#writer.enqueue(createSubmission(transaction, { raisedLogs: [log] }));
    });
  }

  readProducer(topicId: number, producerId: string): Promise<ProducerState | undefined> {
    return this.#reads.producer(topicId, producerId);
  }

  readCursors(subscriptionId: number, partitionCount: number): Promise<ReadonlyMap<number, CursorState>> {
    return this.#reads.cursors(subscriptionId, partitionCount);
  }

  readDeadLetter(
    subscriptionId: number,
    partition: number,
    offset: number,
  ): Promise<DeadLetterNote | undefined> {
    return this.#reads.deadLetter(subscriptionId, partition, offset);
  }

  readDeadLetterOffsets(
    subscriptionId: number,
    partition: number,
    first: number,
    last: number,
    limit: number,
  ): Promise<readonly number[]> {
    return this.#reads.deadLetterOffsets(subscriptionId, partition, first, last, limit);
  }

  readRedrives(subscriptionId: number, deadLetterTopicId: number): Promise<ReadonlyMap<number, number>> {
    return this.#reads.redrives(subscriptionId, deadLetterTopicId);
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    // Syncs written rounds too, so that the note of synced offsets covers everything.
    if (this.#state.kind === 'open') {
      this.submit({ durability: 'synced' });
      this.#state = { kind: 'closing' };
    }
    if (!this.#writer.isIdle) await new Promise<void>((resolve) => (this.#onIdle = resolve));
    this.#readers.close();
    await this.#syncedOffsets.close();
    await this.#reserve.stop();
    await this.#log.close();
    await this.#reported;
    try {
      await this.#engine.close();
    } catch (error) {
      endOnDefect(error);
      // A compaction may have met damage since the last write: closing reports it.
      if (this.#state.kind !== 'failed' && engineFault(error) === 'corruption') {
        this.#ended({ kind: 'damaged', message: engineMessage(error) });
        await this.#reported;
      }
      // After a failed write the database may refuse to close as well: the process ends with what is on disk.
      if (this.#state.kind !== 'failed') throw error;
      this.#logger.warn({ error: engineMessage(error) }, 'the failed store could not be closed');
    }
  }

  #checkOpen(): void {
    if (this.#state.kind === 'failed') throw this.#state.error;
    if (this.#state.kind === 'closing') throw storeClosed();
  }

  /** The oldest round that was not yet written is in the database. */
  #written(block: ArrayBuffer): void {
    if (this.#state.kind === 'failed') return;
    if (this.#shownPosition < this.#committedPosition) this.#show(block);
    else this.#uncommitted.push(block);
  }

  /** Every round up to this position is committed. */
  #committed(position: number): void {
    if (this.#state.kind === 'failed') return;
    this.#committedPosition = Math.max(this.#committedPosition, position);
    while (this.#uncommitted.length > 0 && this.#shownPosition < this.#committedPosition) {
      this.#show(this.#uncommitted.shift()!);
    }
  }

  /** A round is written and committed: first readers see it, then its submitters are answered. */
  #show(block: ArrayBuffer): void {
    this.#shownPosition++;
    const plan = this.#writer.finishRound();
    const grown = runsOfRound(plan, block).filter(({ growth }) => !growth.log.isDeleted);
    for (const { growth } of grown) {
      growth.log.endOffset = growth.endOffset;
      growth.log.endPosition = growth.endPosition;
      this.#unsynced.add(growth.log);
    }
    if (grown.length === 0) this.#memory.giveBack(block);
    else {
      this.#tail.add(
        block,
        grown.map(({ growth, runs }) => ({ segment: growth.log.tail, runs })),
      );
    }
    if (plan.isSynced) this.#noteSynced();
    this.#noteDeleted(plan.deletions);
    for (const { onCommitted } of plan.submitters) onCommitted?.();
    for (const { growth } of grown) {
      const { topicId, partition, isDeleted } = growth.log;
      if (!isDeleted) this.#listener.grown(topicId, partition, growth.endOffset);
    }
    if (this.#writer.takeRoom()) this.#listener.room();
    if (this.#writer.isIdle) this.#onIdle?.();
  }

  /** A synced write also syncs everything that was written before it. */
  #noteSynced(): void {
    if (this.#unsynced.size === 0) return;
    for (const log of this.#unsynced) log.syncedOffset = log.endOffset;
    this.#unsynced.clear();
    this.#syncedOffsets.changed();
  }

  #noteDeleted(keys: RoundPlan['deletions']): void {
    if (keys.length === 0) return;
    this.#sequencer.deletionsWritten(keys);
    this.#syncedOffsets.changed();
  }

  /** The note of synced offsets no longer names the deleted partitions: their deletion need not be remembered. */
  #retireDeletions(): void {
    const retired = this.#sequencer.takeRetiredDeletions();
    if (retired.length === 0 || this.#state.kind !== 'open') return;
    this.#writer.enqueue(createSubmission({ durability: 'written' }, { retiredDeletions: retired }));
  }

  /**
   * The log of rounds has ended: everything in flight is refused, and nothing is retried. `failed` resolves at once, or,
   * if the database is damaged, when the place of the damage is known: reading still works.
   */
  #ended(end: RoundLogEnd): void {
    const error = endError(end);
    this.#state = { kind: 'failed', error };
    this.#logger.error({ error: error.message }, 'the store failed');
    for (const { onFailed } of this.#writer.abandon()) onFailed?.(error);
    this.#reported = this.#report(end.kind === 'damaged' ? end.message : undefined, error);
    this.#onIdle?.();
  }

  async #report(damage: string | undefined, error: SluiceError): Promise<void> {
    const reported = damage === undefined ? error : await describeDamage(this.#damageSite, damage);
    this.#reportFailure(reported);
  }
}

function endError(end: RoundLogEnd): SluiceError {
  if (end.kind === 'fenced') {
    return new SluiceError('STORAGE_FAILED', 'another process has taken over the log of rounds');
  }
  if (end.kind === 'failed') {
    return new SluiceError('STORAGE_FAILED', `writing to the store failed: ${end.message}`);
  }
  const damage = damageMessage(end.message);
  return new SluiceError('DATA_LOSS', `the database is damaged and takes no writes: ${damage}`);
}

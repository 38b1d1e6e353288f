import type { Clock } from '../base/clock.js';
import { SluiceError } from '../base/errors.js';
import { endOnDefect } from '../base/invariant.js';
import { limits } from '../base/limits.js';
import type { Logger } from '../base/logger.js';
import type { SubscriptionConfig } from '../base/model.js';
import type { CursorState } from '../base/positions.js';
import type { Random } from '../base/random.js';
import { mergedIntervals } from '../core/intervals.js';
import { createSubscriptionState } from '../core/subscription-state.js';
import type {
  Credit,
  DeliveryPolicy,
  MessageState,
  PartitionStatus,
  SessionEnd,
  Settlement,
  SettleResult,
  SubscriptionState,
} from '../core/types.js';
import type { CursorUpdate, DeadLetterRange, Storage } from '../storage/types.js';
import type { Alarm, Sleeper } from './alarm.js';
import { commit } from './committer.js';
import { ConsumerLink } from './consumer-link.js';
import { contradictions } from './contradictions.js';
import type { Counters } from './counters.js';
import { CumulativeAcks } from './cumulative-acks.js';
import type { DeadLetterBuilder } from './dead-letter-builder.js';
import { DeadLettering } from './dead-lettering.js';
import { DeliveryPump } from './delivery-pump.js';
import type { FramePool } from './frame-pool.js';
import { LaneReaders } from './lane-readers.js';
import type { BrokerSettings } from './settings.js';
import type { Topic } from './topic.js';
import type { ConsumeOptions, ConsumerSink, SubscriptionInfo } from './types.js';

/** A redrive of this subscription's dead letters. */
interface RedriveUnderWay {
  /** Nothing more is sent back from now on. */
  stop(error: SluiceError): void;
}

export interface RunnerServices {
  readonly storage: Storage;
  readonly settings: BrokerSettings;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly alarm: Alarm;
  readonly deadLetterBuilder: DeadLetterBuilder;
  readonly frames: FramePool;
  readonly counters: Counters;
  /** A session has ended: nobody finds it any more. */
  readonly sessionEnded: (sessionId: string) => void;
}

/**
 * The live side of a subscription: asks the subscription state (core) what to do, reads the log, hands messages to
 * consumers, and commits what the state decides before it answers callers.
 */
export class SubscriptionRunner implements Sleeper {
  readonly subscriptionId: number;
  readonly topic: Topic;
  readonly #services: RunnerServices;
  readonly #state: SubscriptionState;
  readonly #readers: LaneReaders;
  readonly #links = new Map<string, ConsumerLink>();
  readonly #pump: DeliveryPump;
  readonly #deadLettering: DeadLettering;
  #config: SubscriptionConfig;
  /** Dead letters would come back to the topic: none are made by `max_attempts`. */
  #isInDeadLetterCycle: boolean;
  #redrive: RedriveUnderWay | undefined;
  #hasEnded = false;
  #endError: SluiceError | undefined;
  /** Of the topic; of one that has ended, as it was then: a call that was under way is still answered. */
  #partitionCount = 0;
  #seekCount = 0;
  /** The log has grown, and consumers are about to be served. */
  #isGrowing = false;

  constructor(
    services: RunnerServices,
    topic: Topic,
    subscriptionId: number,
    config: SubscriptionConfig,
    cursors: ReadonlyMap<number, CursorState>,
    isInDeadLetterCycle: boolean,
  ) {
    this.subscriptionId = subscriptionId;
    this.topic = topic;
    this.#services = services;
    this.#config = config;
    this.#isInDeadLetterCycle = isInDeadLetterCycle;
    this.#readers = new LaneReaders(services.storage, topic.topicId);
    this.#state = createSubscriptionState(this.#policy(), services.random);
    this.#pump = new DeliveryPump({
      state: this.#state,
      readers: this.#readers,
      nowMs: () => this.#nowMs(),
      counters: services.counters,
      subscriptionId,
      isOrderedByKey: config.ordering === 'key',
      isLive: (link) => this.#isLive(link),
      ready: (link) => this.#serve([link.sessionId]),
      readFailed: (link, partition, thrown) => this.#readFailed(link, partition, thrown),
    });
    this.#deadLettering = new DeadLettering({
      storage: services.storage,
      logger: services.logger,
      builder: services.deadLetterBuilder,
      topic,
      subscriptionId,
      config: () => this.#config,
      isOver: () => this.#hasEnded,
      deadLettered: ({ partition, offset }) => {
        this.#state.deadLettered(partition, offset);
        services.counters.deadLetteredMessages++;
      },
      deadLetterFailed: ({ partition, offset }) =>
        this.#state.deadLetterFailed(partition, offset, this.#nowMs()),
      cursorUpdates: (partitions) => this.#cursorUpdates(partitions),
      changed: () => this.#apply(),
    });
    for (let partition = 0; partition < topic.config.partitionCount; partition++) {
      this.#addLane(partition, cursors.get(partition));
    }
  }

  get config(): SubscriptionConfig {
    return this.#config;
  }

  get links(): Iterable<ConsumerLink> {
    return this.#links.values();
  }

  get ackDeadlineMs(): number {
    return this.#policy().ackDeadlineMs;
  }

  setConfig(config: SubscriptionConfig): void {
    this.#config = config;
    this.#state.setPolicy(this.#policy());
    this.#apply();
  }

  /** The cycle that the subscription was in is broken: `max_attempts` holds again. */
  leaveDeadLetterCycle(): void {
    this.#isInDeadLetterCycle = false;
    this.#state.setPolicy(this.#policy());
    this.#apply();
  }

  /** The topic has a new partition: it is read from its beginning. */
  addPartition(partition: number): void {
    this.#addLane(partition, undefined);
    this.#apply();
  }

  grown(partition: number, endOffset: number): void {
    this.#state.setEnd(partition, endOffset);
    if (this.#links.size === 0 || this.#isGrowing) return;
    // A commit lets several partitions grow, one call each: what they bring goes out together.
    this.#isGrowing = true;
    queueMicrotask(() => {
      this.#isGrowing = false;
      if (!this.#hasEnded) this.#apply();
    });
  }

  /** Retention removed everything below: it counts as settled. */
  removedBelow(partition: number, firstOffset: number): void {
    this.#state.setFirst(partition, firstOffset);
    this.#apply();
  }

  wake(nowMs: number): void {
    this.#state.wake(nowMs);
    this.#apply();
  }

  // --- Sessions -------------------------------------------------------------------------------------------

  /** Throws where the subscription was deleted after the caller had found it. */
  openSession(sessionId: string, options: ConsumeOptions, sink: ConsumerSink): ConsumerLink {
    if (this.#endError !== undefined) throw this.#endError;
    const link = new ConsumerLink(
      sessionId,
      options,
      sink,
      {
        frames: this.#services.frames.open(),
        waited: this.#services.counters.waited,
        nowMs: () => this.#nowMs(),
      },
      this.#services.clock.wallMs(),
      new CumulativeAcks(this.info().partitions.map(({ acknowledgedOffset }) => acknowledgedOffset)),
    );
    this.#links.set(sessionId, link);
    return link;
  }

  /** Deliveries begin: the consumer has been told who it is. */
  startSession(link: ConsumerLink, credit: Credit): void {
    if (this.#links.get(link.sessionId) !== link) return;
    this.#state.openSession(link.sessionId, credit, this.#nowMs());
    this.#apply();
  }

  closeSession(sessionId: string, end: SessionEnd): void {
    const link = this.#links.get(sessionId);
    if (link === undefined) return;
    this.#links.delete(sessionId);
    link.close();
    this.#services.sessionEnded(sessionId);
    if (this.#hasEnded) return;
    this.#state.closeSession(sessionId, end, this.#nowMs());
    if (this.#links.size === 0) this.#readers.closeAll();
    this.#apply();
  }

  setCredit(sessionId: string, credit: Partial<Credit>): Credit {
    const status = this.#state.sessionStatus(sessionId);
    if (status === undefined) throw sessionNotFound(sessionId);
    const changed = { ...status.credit, ...credit };
    this.#state.setCredit(sessionId, changed);
    this.#apply();
    return changed;
  }

  /** Ends every session with this error; the subscription is not used any more. */
  end(error: SluiceError): void {
    this.#hasEnded = true;
    this.#endError = error;
    this.#services.alarm.set(this, Number.POSITIVE_INFINITY);
    for (const link of [...this.#links.values()]) this.#endSession(link, error);
    this.#readers.closeAll();
    this.#redrive?.stop(error);
  }

  /** Ends every session with this error; their messages are free, and other sessions may come. */
  endSessions(error: SluiceError): void {
    for (const link of [...this.#links.values()]) this.#endSession(link, error);
  }

  /** None of the consumer's doing: nothing that it holds has failed. */
  #endSession(link: ConsumerLink, error: SluiceError): void {
    this.closeSession(link.sessionId, 'left');
    link.sink.ended(error);
  }

  // --- Settling -------------------------------------------------------------------------------------------

  /** Resolves when everything that the settlements changed is durable. */
  async settle(
    sessionId: string,
    settlements: readonly Settlement[],
    lastDeliveryId?: number,
  ): Promise<SettleResult> {
    const result = this.#state.settle(sessionId, settlements, this.#nowMs(), lastDeliveryId);
    const { settledBefore } = result;
    const seekCount = this.#seekCount;
    const compared = this.#links
      .get(sessionId)
      ?.cumulativeAcks.withoutRepeated(settlements, settledBefore ?? [], (partition) =>
        this.topic.endOffset(partition),
      );
    await this.#apply(true);
    const { settledCount, stale } = result;
    if (settledBefore === undefined) return result;
    // The commit that was waited for came after those of the dead letters: their notes can be read.
    const contradicting = await contradictions(this.#services, this, compared ?? settledBefore);
    // A seek has removed notes meanwhile: what they would have said is not known.
    if (seekCount !== this.#seekCount) return { settledCount, stale };
    return { settledCount, stale: mergedIntervals([...stale, ...contradicting]) };
  }

  // --- Looking inside -------------------------------------------------------------------------------------

  sessionStatus(sessionId: string): ReturnType<SubscriptionState['sessionStatus']> {
    return this.#state.sessionStatus(sessionId);
  }

  messageState(partition: number, offset: number): MessageState {
    return this.#state.status(partition, offset);
  }

  partitionStatus(partition: number): PartitionStatus {
    return this.#state.partitionStatus(partition);
  }

  /** Everything below is settled, and the commit that says so has been submitted. */
  acknowledgedOffset(partition: number): number {
    return this.#state.partitionStatus(partition).acknowledgedOffset;
  }

  get backlogMessageCount(): number {
    let count = 0;
    for (let partition = 0; partition < this.#partitionCount; partition++) {
      count += this.#state.partitionStatus(partition).backlogMessageCount;
    }
    return count;
  }

  info(): SubscriptionInfo {
    const partitions = [];
    for (let partition = 0; partition < this.#partitionCount; partition++) {
      partitions.push({ partition, ...this.#state.partitionStatus(partition) });
    }
    return { config: this.#config, partitions };
  }

  // --- Seeking --------------------------------------------------------------------------------------------

  /** Moves the cursors of these partitions; resolves when that is durable. */
  async seek(offsets: ReadonlyMap<number, number>): Promise<void> {
    const nowMs = this.#nowMs();
    const forgottenDeadLetters: DeadLetterRange[] = [];
    this.#seekCount += 1;
    for (const [partition, offset] of offsets) {
      // While the offsets were looked up, retention may have passed them.
      const from = Math.max(offset, this.topic.firstOffset(partition));
      for (const interval of this.#state.seek(partition, from, nowMs)) {
        forgottenDeadLetters.push({ subscriptionId: this.subscriptionId, partition, ...interval });
      }
    }
    const { durability } = this.topic;
    const cursors = this.#cursorUpdates([...offsets.keys()]);
    const forgotten = commit(this.#services.storage, { durability, cursors, forgottenDeadLetters });
    await Promise.all([forgotten, this.#apply(true)]);
  }

  // --- Redriving ------------------------------------------------------------------------------------------

  /**
   * One at a time, so that no dead letter is sent back twice. The latest counts: the one before may be that of a
   * client that is gone, and the broker would be the last to hear of it.
   */
  beginRedrive(redrive: RedriveUnderWay): void {
    const { topic, name } = this.#config;
    this.#redrive?.stop(
      new SluiceError(
        'REDRIVE_REPLACED',
        `another call redrives the dead letters of subscription "${name}" of topic "${topic}", and goes on where this one was`,
        { metadata: { topic, subscription: name } },
      ),
    );
    this.#redrive = redrive;
  }

  endRedrive(redrive: RedriveUnderWay): void {
    if (this.#redrive === redrive) this.#redrive = undefined;
  }

  // --- The machinery --------------------------------------------------------------------------------------

  #isLive(link: ConsumerLink): boolean {
    return !this.#hasEnded && this.#links.get(link.sessionId) === link;
  }

  #policy(): DeliveryPolicy {
    const policy = policyOf(this.#config, this.#services.settings);
    return this.#isInDeadLetterCycle ? { ...policy, maxAttempts: Number.POSITIVE_INFINITY } : policy;
  }

  #nowMs(): number {
    return this.#services.clock.monotonicMs();
  }

  #addLane(partition: number, cursor: CursorState | undefined): void {
    const { endOffset } = this.#services.storage.extent(this.topic.topicId, partition);
    const firstOffset = this.topic.firstOffset(partition);
    this.#state.addPartition(partition, cursor ?? freshCursor(firstOffset), endOffset);
    this.#partitionCount = partition + 1;
    if (cursor !== undefined && cursor.acknowledgedOffset < firstOffset) {
      this.#state.setFirst(partition, firstOffset);
    }
  }

  /**
   * Carries out what the subscription state decided: commits cursors, tells consumers of their partitions and of what was taken back, lets those receive
   * that can, dead-letters what was given up, and sets the alarm. Resolves when all of it is durable; without
   * `isAwaited` nothing is committed where nothing changed.
   */
  #apply(isAwaited = false): Promise<unknown> | undefined {
    const effects = this.#state.takeEffects();
    const pending: Promise<unknown>[] = [];
    if (isAwaited || effects.dirtyPartitions.length > 0) {
      // An empty commit is a barrier: a repeated acknowledgement waits for the first one's commit.
      pending.push(this.#commitCursors(effects.dirtyPartitions));
    }
    if (effects.deadLetterRequests.length > 0)
      pending.push(this.#deadLettering.deadLetter(effects.deadLetterRequests));
    for (const { sessionId, partitions } of effects.assignments) {
      this.#links.get(sessionId)?.sink.assigned(partitions);
    }
    for (const { sessionId, offsets } of effects.revocations) {
      this.#links.get(sessionId)?.sink.revoked(offsets);
    }
    this.#serve(effects.ready);
    if (isAwaited) return Promise.all(pending);
    for (const each of pending) this.#unawaited(each);
    return undefined;
  }

  /** The store itself tells everybody of its failure; a message that could not be dead-lettered is pending again. */
  #unawaited(commit: Promise<unknown>): void {
    const { logger } = this.#services;
    commit.catch((error: unknown) => {
      endOnDefect(error);
      logger.debug({ error }, 'a commit that no caller waits for failed');
    });
  }

  #commitCursors(partitions: readonly number[]): Promise<void> {
    const { durability, backlog } = this.topic;
    const durable = commit(this.#services.storage, { durability, cursors: this.#cursorUpdates(partitions) });
    backlog.settled();
    return durable;
  }

  #cursorUpdates(partitions: readonly number[]): CursorUpdate[] {
    return partitions.map((partition) => ({
      subscriptionId: this.subscriptionId,
      partition,
      state: () => this.#state.cursor(partition),
    }));
  }

  /** Lets sessions receive, then those that are called ready because of what these left, and sets the alarm. */
  #serve(ready: readonly string[]): void {
    for (let woken = ready; woken.length > 0; ) {
      for (const sessionId of woken) {
        const link = this.#links.get(sessionId);
        if (link !== undefined) this.#pump.run(link);
      }
      // Serving makes others ready and passes over what is not for this subscription; it has no other effects.
      const effects = this.#state.takeEffects();
      if (effects.dirtyPartitions.length > 0) this.#unawaited(this.#commitCursors(effects.dirtyPartitions));
      woken = effects.ready;
    }
    if (!this.#hasEnded) this.#services.alarm.set(this, this.#state.wakeAtMs);
  }

  /** A damaged or missing record: the consumer is told, and nothing is skipped. */
  #readFailed(link: ConsumerLink, partition: number, thrown: unknown): void {
    if (!this.#isLive(link)) return;
    const error = SluiceError.from(thrown);
    if (error.reason === 'OFFSET_OUT_OF_RANGE') {
      // Retention was quicker than the read, and moved the cursor: there is a new place to read.
      this.#serve([link.sessionId]);
      return;
    }
    const { logger } = this.#services;
    const { name } = this.#config;
    const context = { error, topic: this.topic.name, subscription: name, partition };
    logger.error(context, 'reading for a subscription failed');
    this.#endSession(link, error);
  }
}

export function sessionNotFound(sessionId: string): SluiceError {
  return new SluiceError(
    'SESSION_NOT_FOUND',
    `there is no session "${sessionId}": it ended, and what it held is delivered again`,
    { metadata: { sessionId } },
  );
}

/** A cursor at which nothing has happened yet. */
export function freshCursor(offset: number): CursorState {
  return { acknowledgedOffset: offset, settled: [], failed: [], deadLetterCount: 0 };
}

function policyOf(config: SubscriptionConfig, settings: BrokerSettings): DeliveryPolicy {
  const minBackoffMs = config.minBackoffMs || limits.defaultMinBackoffMs;
  return {
    ordering: config.ordering,
    ackDeadlineMs: config.ackDeadlineMs || settings.defaultAckDeadlineMs,
    minBackoffMs,
    maxBackoffMs: Math.max(minBackoffMs, config.maxBackoffMs || limits.defaultMaxBackoffMs),
    maxAttempts: config.deadLetter.isDisabled
      ? Number.POSITIVE_INFINITY
      : config.deadLetter.maxAttempts || limits.defaultMaxAttempts,
  };
}

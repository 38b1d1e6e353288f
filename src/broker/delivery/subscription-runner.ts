import type { Clock } from '../../base/clock.js';
import { SluiceError } from '../../base/errors.js';
import { endOnDefect } from '../../base/invariant.js';
import { limits } from '../../base/limits.js';
import type { Logger } from '../../base/logger.js';
import type { SubscriptionConfig } from '../../base/model.js';
import type { CursorState } from '../../base/positions.js';
import type { Random } from '../../base/random.js';
import { mergedIntervals } from '../../core/intervals.js';
import { createSubscriptionState } from '../../core/subscription-state.js';
import type {
  Credit,
  DeliveryPolicy,
  MessageState,
  PartitionStatus,
  SessionEnd,
  Settlement,
  SettleResult,
  SubscriptionState,
} from '../../core/types.js';
import type { CursorUpdate, DeadLetterRemoval, Storage } from '../../storage/types.js';
import type { Alarm, Sleeper } from '../alarm.js';
import { commit } from '../committer.js';
import type { Counters } from '../counters.js';
import type { DeadLetterBuilder } from '../dead-letters/dead-letter-builder.js';
import { DeadLettering } from '../dead-letters/dead-lettering.js';
import type { BrokerSettings } from '../settings.js';
import type { Topic } from '../topics/topic.js';
import type { ConsumeOptions, ConsumerSink, SubscriptionInfo } from '../types.js';
import { ConsumerLink } from './consumer-link.js';
import { contradictions } from './contradictions.js';
import { CumulativeAcks } from './cumulative-acks.js';
import { DeliveryPump } from './delivery-pump.js';
import type { FramePool } from './frame-pool.js';
import { LaneReaders } from './lane-readers.js';

/** A redrive of this subscription's dead letters. */
interface RedriveUnderWay {
  /** The redrive must send nothing more back. */
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
  /** All open sessions of the broker, by their id. A runner removes its own when they end. */
  readonly sessions: { delete(sessionId: string): boolean };
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
  /** Dead letters would come back to the topic: `max_attempts` does not apply. */
  #isInDeadLetterCycle: boolean;
  #redrive: RedriveUnderWay | undefined;
  #hasEnded = false;
  #endError: SluiceError | undefined;
  /**
   * The partition count of the topic, or the last one before the end: calls that are under way are still answered.
   */
  #partitionCount = 0;
  #seekCount = 0;
  /** The log has grown, and sessions will be served at the end of this turn. */
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

  /** The subscription is no longer part of a cycle: `max_attempts` applies again. */
  leaveDeadLetterCycle(): void {
    this.#isInDeadLetterCycle = false;
    this.#state.setPolicy(this.#policy());
    this.#apply();
  }

  /** The topic has a new partition, which is read from its beginning. */
  addPartition(partition: number): void {
    this.#addLane(partition, undefined);
    this.#apply();
  }

  grown(partition: number, endOffset: number): void {
    this.#state.setEnd(partition, endOffset);
    if (this.#links.size === 0 || this.#isGrowing) return;
    // A commit grows several partitions, with one call each: their messages go out together.
    this.#isGrowing = true;
    queueMicrotask(() => {
      this.#isGrowing = false;
      if (!this.#hasEnded) this.#apply();
    });
  }

  /** Retention removed everything below `firstOffset`: it counts as settled. */
  removedBelow(partition: number, firstOffset: number): void {
    this.#state.setFirst(partition, firstOffset);
    this.#apply();
  }

  wake(nowMs: number): void {
    this.#state.wake(nowMs);
    this.#apply();
  }

  // --- Sessions -------------------------------------------------------------------------------------------

  /** Throws if the subscription was deleted after the caller had found it. */
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

  /** The consumer has received its session id: deliveries begin. */
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
    this.#services.sessions.delete(sessionId);
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

  /** Ends every session with this error. The subscription is not used any more. */
  end(error: SluiceError): void {
    this.#hasEnded = true;
    this.#endError = error;
    this.#services.alarm.set(this, Number.POSITIVE_INFINITY);
    for (const link of [...this.#links.values()]) this.#endSession(link, error);
    this.#readers.closeAll();
    this.#redrive?.stop(error);
  }

  /** Ends every session with this error. Their messages are pending again, and new sessions may open. */
  endSessions(error: SluiceError): void {
    for (const link of [...this.#links.values()]) this.#endSession(link, error);
  }

  /** The broker ends the session: nothing is charged for the messages that the session holds. */
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
    // The commit that was awaited is later than those of the dead letters: their notes can be read.
    const contradicting = await contradictions(this.#services, this, compared ?? settledBefore);
    // A seek has removed notes meanwhile: contradictions can't be found any more.
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

  /** Everything below is settled, and the commit with that cursor has been submitted. */
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

  /** Moves the cursors of these partitions. Resolves when the change is durable. */
  async seek(offsets: ReadonlyMap<number, number>): Promise<void> {
    const nowMs = this.#nowMs();
    const forgotten: DeadLetterRemoval[] = [];
    this.#seekCount += 1;
    for (const [partition, offset] of offsets) {
      // Retention may have passed the offsets since they were looked up.
      const from = Math.max(offset, this.topic.firstOffset(partition));
      for (const interval of this.#state.seek(partition, from, nowMs)) {
        forgotten.push({
          kind: 'remove-dead-letters',
          subscriptionId: this.subscriptionId,
          partition,
          ...interval,
        });
      }
    }
    const { durability } = this.topic;
    const cursors = this.#cursorUpdates([...offsets.keys()]);
    const durable = commit(this.#services.storage, { durability, changes: [...cursors, ...forgotten] });
    await Promise.all([durable, this.#apply(true)]);
  }

  // --- Redriving ------------------------------------------------------------------------------------------

  /**
   * Only one redrive of a subscription at a time, so that no dead letter is sent back twice. The latest one wins:
   * the client of the earlier one may be gone without the broker's knowledge.
   */
  beginRedrive(redrive: RedriveUnderWay): void {
    const { topic, name } = this.#config;
    this.#redrive?.stop(
      new SluiceError(
        'REDRIVE_REPLACED',
        `another call redrives the dead letters of subscription "${name}" of topic "${topic}", and continues where this one stopped`,
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
   * Carries out the effects of the subscription state: commits cursors, tells consumers of assignments and
   * revocations, serves sessions that are ready, submits dead-letter requests, and sets the alarm. Resolves when
   * all of it is durable. Without `isAwaited`, nothing is committed if nothing changed.
   */
  #apply(isAwaited = false): Promise<unknown> | undefined {
    const effects = this.#state.takeEffects();
    const pending: Promise<unknown>[] = [];
    if (isAwaited || effects.dirtyPartitions.length > 0) {
      // An empty commit is a barrier: a repeated acknowledgement waits for the commit of the first one.
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

  /**
   * The store reports its own failure to the broker. A message that could not be dead-lettered is pending again.
   */
  #unawaited(commit: Promise<unknown>): void {
    const { logger } = this.#services;
    commit.catch((error: unknown) => {
      endOnDefect(error);
      logger.debug({ error }, 'a commit that no caller waits for failed');
    });
  }

  #commitCursors(partitions: readonly number[]): Promise<void> {
    const { durability, backlog } = this.topic;
    const durable = commit(this.#services.storage, { durability, changes: this.#cursorUpdates(partitions) });
    backlog.settled();
    return durable;
  }

  #cursorUpdates(partitions: readonly number[]): CursorUpdate[] {
    return partitions.map((partition) => ({
      kind: 'cursor',
      subscriptionId: this.subscriptionId,
      partition,
      state: () => this.#state.cursor(partition),
    }));
  }

  /** Serves these sessions, then the sessions that become ready because of what these left. Sets the alarm. */
  #serve(ready: readonly string[]): void {
    for (let woken = ready; woken.length > 0; ) {
      for (const sessionId of woken) {
        const link = this.#links.get(sessionId);
        if (link !== undefined) this.#pump.run(link);
      }
      // Serving can only make other sessions ready and move cursors over targeted runs.
      const effects = this.#state.takeEffects();
      if (effects.dirtyPartitions.length > 0) this.#unawaited(this.#commitCursors(effects.dirtyPartitions));
      woken = effects.ready;
    }
    if (!this.#hasEnded) this.#services.alarm.set(this, this.#state.wakeAtMs);
  }

  /** A record is damaged or missing: the session ends with the error, and nothing is skipped. */
  #readFailed(link: ConsumerLink, partition: number, thrown: unknown): void {
    if (!this.#isLive(link)) return;
    const error = SluiceError.from(thrown);
    if (error.reason === 'OFFSET_OUT_OF_RANGE') {
      // Retention removed the messages before the read, and moved the cursor: read from there.
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
    `there is no session "${sessionId}": it ended, and its messages are delivered again`,
    { metadata: { sessionId } },
  );
}

/** A cursor without any settled message. */
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

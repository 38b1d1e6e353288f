import { SluiceError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import type { SubscriptionConfig } from '../../base/model.js';
import type { CursorState } from '../../base/positions.js';
import type { Random } from '../../base/random.js';
import { sessionNotFound } from '../../base/shared-errors.js';
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
import type { DeadLetterRemoval } from '../../storage/types.js';
import { commit } from '../committer.js';
import type { DeadLetterBuilder } from '../dead-letters/dead-letter-builder.js';
import { DeadLettering } from '../dead-letters/dead-lettering.js';
import type { FramePool } from '../frames/frame-pool.js';
import type { BrokerSettings } from '../settings.js';
import type { Topic } from '../topics/topic.js';
import type { ConsumeOptions, ConsumerSink, SubscriptionInfo } from '../types.js';
import { ConsumerLink } from './consumer-link.js';
import { contradictions } from './contradictions.js';
import { CumulativeAcks } from './cumulative-acks.js';
import { Dispatcher, type DispatcherServices } from './dispatcher.js';
import { LaneReaders } from './lane-readers.js';

/** A redrive of this subscription's dead letters. */
interface RedriveUnderWay {
  /** The redrive must send nothing more back. */
  stop(error: SluiceError): void;
}

export interface RunnerServices extends DispatcherServices {
  readonly settings: BrokerSettings;
  readonly random: Random;
  readonly deadLetterBuilder: DeadLetterBuilder;
  /** The open sessions of the broker, by their id. A runner adds and removes its own. */
  readonly sessions: {
    set(sessionId: string, runner: SubscriptionRunner): unknown;
    delete(sessionId: string): boolean;
  };
  readonly frames: FramePool;
}

/**
 * The live side of a subscription: what the broker asks of it becomes a command to the subscription state (core).
 * The dispatcher carries out what the state decides, and commits it before a caller is answered.
 */
export class SubscriptionRunner {
  readonly subscriptionId: number;
  readonly topic: Topic;
  readonly #services: RunnerServices;
  readonly #state: SubscriptionState;
  readonly #dispatcher: Dispatcher;
  /** Dead letters would come back to the topic: the limit of attempts does not apply. */
  #isInDeadLetterCycle: boolean;
  #redrive: RedriveUnderWay | undefined;
  #endError: SluiceError | undefined;
  /**
   * The partition count of the topic, or the last one before the end: calls that are under way are still answered.
   */
  #partitionCount = 0;
  #seekCount = 0;

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
    this.#isInDeadLetterCycle = isInDeadLetterCycle;
    this.#state = createSubscriptionState(this.#policy(config), services.random);
    this.#dispatcher = new Dispatcher(
      services,
      topic,
      subscriptionId,
      config,
      this.#state,
      new LaneReaders(services.storage, topic.topicId),
      new DeadLettering(services.deadLetterBuilder, topic, subscriptionId),
    );
    for (let partition = 0; partition < topic.config.partitionCount; partition++) {
      this.#addLane(partition, cursors.get(partition));
    }
  }

  /**
   * Carries out what the recovered cursors require, without waiting for a consumer: dead-letters messages that had
   * failed too often before a restart, and commits cursors that retention has moved. Called once, when all topics and
   * subscriptions are known: dead letters may go to any topic.
   */
  resume(): void {
    this.#dispatcher.apply();
  }

  get config(): SubscriptionConfig {
    return this.#dispatcher.config;
  }

  get links(): Iterable<ConsumerLink> {
    return this.#dispatcher.links;
  }

  get ackDeadlineMs(): number {
    return this.#policy().ackDeadlineMs;
  }

  setConfig(config: SubscriptionConfig): void {
    this.#dispatcher.config = config;
    this.#state.setPolicy(this.#policy());
    this.#dispatcher.apply();
  }

  /** The subscription is no longer part of a cycle: the limit of attempts applies again. */
  leaveDeadLetterCycle(): void {
    this.#isInDeadLetterCycle = false;
    this.#state.setPolicy(this.#policy());
    this.#dispatcher.apply();
  }

  /** The topic has a new partition, which is read from its beginning. */
  addPartition(partition: number): void {
    this.#addLane(partition, undefined);
    this.#dispatcher.apply();
  }

  grown(partition: number, endOffset: number): void {
    this.#dispatcher.grown(partition, endOffset);
  }

  /** Retention removed everything below `firstOffset`: it counts as settled. */
  removedBelow(partition: number, firstOffset: number): void {
    this.#state.setFirst(partition, firstOffset);
    this.#dispatcher.apply();
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
        clock: this.#services.clock,
      },
      this.#services.clock.wallMs(),
      new CumulativeAcks(this.info().partitions.map(({ acknowledgedOffset }) => acknowledgedOffset)),
    );
    this.#dispatcher.addLink(link);
    this.#services.sessions.set(sessionId, this);
    return link;
  }

  /** The consumer has received its session id: deliveries begin. */
  startSession(link: ConsumerLink, credit: Credit): void {
    this.#dispatcher.startSession(link, credit);
  }

  closeSession(sessionId: string, end: SessionEnd): void {
    this.#dispatcher.closeSession(sessionId, end);
  }

  setCredit(sessionId: string, credit: Partial<Credit>): Credit {
    const status = this.#state.sessionStatus(sessionId);
    if (status === undefined) throw sessionNotFound(sessionId);
    const changed = { ...status.credit, ...credit };
    this.#state.setCredit(sessionId, changed);
    this.#dispatcher.apply();
    return changed;
  }

  /** Ends every session with this error. The subscription is not used any more. */
  end(error: SluiceError): void {
    this.#endError = error;
    this.#dispatcher.end(error);
    this.#redrive?.stop(error);
  }

  /** Ends every session with this error. Their messages are pending again, and new sessions may open. */
  endSessions(error: SluiceError): void {
    this.#dispatcher.endSessions(error);
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
    const compared = this.#dispatcher
      .link(sessionId)
      ?.cumulativeAcks.withoutRepeated(settlements, settledBefore ?? [], (partition) =>
        this.topic.endOffset(partition),
      );
    await this.#dispatcher.apply(true);
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
    return { config: this.config, partitions };
  }

  // --- Seeking --------------------------------------------------------------------------------------------

  /**
   * Moves the cursors of these partitions. Resolves when the change is durable. Rejects with SUBSCRIPTION_NOT_FOUND if
   * the subscription was deleted after the caller had found it.
   */
  async seek(offsets: ReadonlyMap<number, number>): Promise<void> {
    if (this.#endError !== undefined) throw subscriptionNotFound(this.config.topic, this.config.name);
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
    const cursors = this.#dispatcher.cursorUpdates([...offsets.keys()]);
    const durable = commit(this.#services.storage, { durability, changes: [...cursors, ...forgotten] });
    await Promise.all([durable, this.#dispatcher.apply(true)]);
  }

  // --- Redriving ------------------------------------------------------------------------------------------

  /**
   * Only one redrive of a subscription at a time, so that no dead letter is sent back twice. The latest one wins:
   * the client of the earlier one may be gone without the broker's knowledge.
   */
  beginRedrive(redrive: RedriveUnderWay): void {
    const { topic, name } = this.config;
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

  #policy(config = this.config): DeliveryPolicy {
    const policy = policyOf(config, this.#services.settings);
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
}

/** A cursor without any settled message. */
export function freshCursor(offset: number): CursorState {
  return { acknowledgedOffset: offset, settled: [], failed: [], deadLetterCount: 0 };
}

export function subscriptionNotFound(topic: string, subscription: string): SluiceError {
  return new SluiceError('SUBSCRIPTION_NOT_FOUND', `topic "${topic}" has no subscription "${subscription}"`, {
    metadata: { topic, subscription },
  });
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

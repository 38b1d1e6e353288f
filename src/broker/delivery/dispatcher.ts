import type { Clock } from '../../base/clock.js';
import { SluiceError } from '../../base/errors.js';
import { endOnDefect } from '../../base/invariant.js';
import type { Logger } from '../../base/logger.js';
import type { SubscriptionConfig } from '../../base/model.js';
import type { Credit, DeadLetterRequest, SessionEnd, SubscriptionState } from '../../core/types.js';
import type { CursorUpdate, Storage } from '../../storage/types.js';
import type { Alarm, Sleeper } from '../alarm.js';
import { commit, submit } from '../committer.js';
import type { Counters } from '../counters.js';
import type { DeadLetterBatch, DeadLettering } from '../dead-letters/dead-lettering.js';
import type { Topic } from '../topics/topic.js';
import type { ConsumerLink } from './consumer-link.js';
import { type Frame, FrameBuilder, type PendingRead } from './frame-builder.js';
import type { LaneReaders } from './lane-readers.js';

export interface DispatcherServices {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly alarm: Alarm;
  readonly counters: Counters;
  /** All open sessions of the broker, by their id. A dispatcher removes its own when they end. */
  readonly sessions: { delete(sessionId: string): boolean };
}

/**
 * Owns the state, the links and the readers of a subscription, and carries out what the state decides: sends
 * messages to consumers, commits cursors, dead-letters messages, sets the alarm. What it uses returns values and
 * calls nothing back, except that a consumer's stream says when a frame has left.
 */
export class Dispatcher implements Sleeper {
  readonly topic: Topic;
  readonly subscriptionId: number;
  readonly state: SubscriptionState;
  config: SubscriptionConfig;
  readonly #services: DispatcherServices;
  readonly #readers: LaneReaders;
  readonly #frames: FrameBuilder;
  readonly #deadLettering: DeadLettering;
  readonly #links = new Map<string, ConsumerLink>();
  #hasEnded = false;
  #isServing = false;
  /** Sessions that became ready while others were served: they are served next. */
  readonly #readyMeanwhile: string[] = [];
  #isDeadLettering = false;
  /** The log has grown, and sessions will be served at the end of this turn. */
  #isGrowing = false;

  constructor(
    services: DispatcherServices,
    topic: Topic,
    subscriptionId: number,
    config: SubscriptionConfig,
    state: SubscriptionState,
    readers: LaneReaders,
    deadLettering: DeadLettering,
  ) {
    this.topic = topic;
    this.subscriptionId = subscriptionId;
    this.state = state;
    this.config = config;
    this.#services = services;
    this.#readers = readers;
    this.#deadLettering = deadLettering;
    const isOrderedByKey = config.ordering === 'key';
    this.#frames = new FrameBuilder(state, readers, services.clock, subscriptionId, isOrderedByKey);
  }

  get links(): Iterable<ConsumerLink> {
    return this.#links.values();
  }

  link(sessionId: string): ConsumerLink | undefined {
    return this.#links.get(sessionId);
  }

  grown(partition: number, endOffset: number): void {
    this.state.setEnd(partition, endOffset);
    if (this.#links.size === 0 || this.#isGrowing) return;
    // A commit grows several partitions, with one call each: their messages go out together.
    this.#isGrowing = true;
    queueMicrotask(() => {
      this.#isGrowing = false;
      if (!this.#hasEnded) this.apply();
    });
  }

  wake(nowMs: number): void {
    this.state.wake(nowMs);
    this.apply();
  }

  // --- Sessions -------------------------------------------------------------------------------------------

  addLink(link: ConsumerLink): void {
    this.#links.set(link.sessionId, link);
  }

  /** The consumer has received its session id: deliveries begin. */
  startSession(link: ConsumerLink, credit: Credit): void {
    if (this.#links.get(link.sessionId) !== link) return;
    this.state.openSession(link.sessionId, credit, this.#nowMs());
    this.apply();
  }

  closeSession(sessionId: string, end: SessionEnd): void {
    const link = this.#links.get(sessionId);
    if (link === undefined) return;
    this.#links.delete(sessionId);
    link.close();
    this.#services.sessions.delete(sessionId);
    if (this.#hasEnded) return;
    this.state.closeSession(sessionId, end, this.#nowMs());
    if (this.#links.size === 0) this.#readers.closeAll();
    this.apply();
  }

  /** Ends every session with this error. Their messages are pending again, and new sessions may open. */
  endSessions(error: SluiceError): void {
    for (const link of [...this.#links.values()]) this.#endSession(link, error);
  }

  /** Ends every session with this error. The dispatcher is not used any more. */
  end(error: SluiceError): void {
    this.#hasEnded = true;
    this.#services.alarm.set(this, Number.POSITIVE_INFINITY);
    for (const link of this.#links.values()) link.close();
    this.endSessions(error);
    this.#readers.closeAll();
  }

  /** The broker ends the session: nothing is charged for the messages that the session holds. */
  #endSession(link: ConsumerLink, error: SluiceError): void {
    this.closeSession(link.sessionId, 'left');
    link.sink.ended(error);
  }

  // --- Effects --------------------------------------------------------------------------------------------

  /**
   * Carries out the effects of the subscription state: commits cursors, tells consumers of assignments and
   * revocations, serves sessions that are ready, submits dead-letter requests, and sets the alarm. Resolves when
   * all of it is durable. Without `isAwaited`, nothing is committed if nothing changed.
   */
  apply(isAwaited = false): Promise<unknown> | undefined {
    const effects = this.state.takeEffects();
    const pending: Promise<unknown>[] = [];
    if (isAwaited || effects.dirtyPartitions.length > 0) {
      // An empty commit is a barrier: a repeated acknowledgement waits for the commit of the first one.
      pending.push(this.#commitCursors(effects.dirtyPartitions));
    }
    if (effects.deadLetterRequests.length > 0) pending.push(this.#deadLetter(effects.deadLetterRequests));
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

  cursorUpdates(partitions: readonly number[]): CursorUpdate[] {
    return partitions.map((partition) => ({
      kind: 'cursor',
      subscriptionId: this.subscriptionId,
      partition,
      state: () => this.state.cursor(partition),
    }));
  }

  #commitCursors(partitions: readonly number[]): Promise<void> {
    const { durability, backlog } = this.topic;
    const durable = commit(this.#services.storage, { durability, changes: this.cursorUpdates(partitions) });
    backlog.settled();
    return durable;
  }

  /**
   * No caller waits for this commit. It fails only if the store fails, which `Storage.failed` reports, or if a message could
   * not be dead-lettered, which is then pending again.
   */
  #unawaited(durable: Promise<unknown>): void {
    const { logger } = this.#services;
    durable.catch((error: unknown) => {
      endOnDefect(error);
      logger.debug({ error }, 'a commit that no caller waits for failed');
    });
  }

  // --- Delivering -----------------------------------------------------------------------------------------

  /**
   * Serves these sessions, then the sessions that become ready because of what these left. Sets the alarm. A call
   * from within another one only notes the sessions.
   */
  #serve(ready: readonly string[]): void {
    if (this.#isServing) {
      for (const sessionId of ready) this.#readyMeanwhile.push(sessionId);
      return;
    }
    this.#isServing = true;
    try {
      for (let woken = ready; woken.length > 0; ) {
        for (const sessionId of woken) {
          const link = this.#links.get(sessionId);
          if (link !== undefined) this.#serveLink(link);
        }
        // Serving can only make other sessions ready and move cursors over targeted runs.
        const effects = this.state.takeEffects();
        if (effects.dirtyPartitions.length > 0) this.#unawaited(this.#commitCursors(effects.dirtyPartitions));
        woken = effects.ready;
        if (this.#readyMeanwhile.length > 0) woken = [...woken, ...this.#readyMeanwhile.splice(0)];
      }
    } finally {
      this.#isServing = false;
    }
    if (!this.#hasEnded) this.#services.alarm.set(this, this.state.wakeAtMs);
  }

  /** Lets a session receive all that its credit and its transport allow. */
  #serveLink(link: ConsumerLink): void {
    while (link.canSend && link.isOpen) {
      const { reads, runs, failure } = this.#sent(link, this.#frames.collect(link));
      if (reads !== undefined) for (const read of reads) void this.#awaitRead(link, read);
      if (failure !== undefined) this.#readFailed(link, failure.partition, failure.error);
      else if (runs.length === 0) break;
    }
    if (!link.canSend) this.state.decline(link.sessionId);
  }

  /**
   * Only the read may fail. An error after it is a defect of the broker: it is not caught, and the process ends.
   */
  async #awaitRead(link: ConsumerLink, { fetch, reading }: PendingRead): Promise<void> {
    const { sessionId } = link;
    let runs: Awaited<PendingRead['reading']>;
    try {
      runs = await reading;
    } catch (thrown) {
      link.readsUnderWay--;
      this.state.abandon(sessionId, fetch);
      this.#readFailed(link, fetch.partition, thrown);
      return;
    }
    link.readsUnderWay--;
    if (link.isHeldByTransport) {
      // Other partitions have filled the transport meanwhile. The session asks again when a frame has left. Other
      // consumers of this partition must not wait for that: a consumer that does not read would block them
      // forever.
      this.state.abandon(sessionId, fetch);
    } else {
      const frame = this.#frames.fromRead(link, fetch, runs);
      if (link.isOpen) this.#sent(link, frame);
    }
    if (link.isOpen) this.#serve([sessionId]);
  }

  /** Sends the frame, unless it is empty. */
  #sent(link: ConsumerLink, frame: Frame): Frame {
    const { runs, deliveryIds, byteLength } = frame;
    if (runs.length === 0) return frame;
    const { counters } = this.#services;
    link.frameSent(byteLength);
    counters.deliveredBytes += byteLength;
    for (const { from, to } of runs) counters.deliveredMessages += to - from;
    link.sink.deliver(runs, () => this.#frameLeft(link, deliveryIds));
    return frame;
  }

  #frameLeft(link: ConsumerLink, deliveryIds: readonly number[]): void {
    link.frameLeft();
    if (!link.isOpen) return;
    // The deadline starts now: time spent in the transport does not count.
    for (const deliveryId of deliveryIds) this.state.sent(deliveryId, this.#nowMs());
    this.#serve([link.sessionId]);
  }

  /** A record is damaged or missing: the session ends with the error, and nothing is skipped. */
  #readFailed(link: ConsumerLink, partition: number, thrown: unknown): void {
    if (!link.isOpen) return;
    const error = SluiceError.from(thrown);
    if (error.reason === 'OFFSET_OUT_OF_RANGE') {
      // Retention removed the messages before the read, and moved the cursor: read from there.
      this.#serve([link.sessionId]);
      return;
    }
    const { logger } = this.#services;
    const context = { error, topic: this.topic.name, subscription: this.config.name, partition };
    logger.error(context, 'reading for a subscription failed');
    this.#endSession(link, error);
  }

  // --- Dead-lettering -------------------------------------------------------------------------------------

  #deadLetter(requests: readonly DeadLetterRequest[]): Promise<void> {
    const durable = this.#deadLettering.add(requests);
    if (!this.#isDeadLettering) void this.#deadLetterWaiting();
    return durable;
  }

  /** The append and the cursor that settles a message are one commit. One batch after another keeps the order. */
  async #deadLetterWaiting(): Promise<void> {
    this.#isDeadLettering = true;
    while (this.#deadLettering.hasWaiting) {
      const read = await this.#deadLettering.read(this.config);
      if (this.#hasEnded) this.#deadLettering.drop();
      else await this.#storeDeadLetters(this.#deadLettering.takeBatch(this.config, read));
    }
    this.#isDeadLettering = false;
  }

  async #storeDeadLetters(batch: DeadLetterBatch): Promise<void> {
    const { storage, logger, counters } = this.#services;
    for (const { request, error, isRemoved } of batch.refused) {
      const { partition, offset } = request;
      const context = { error, topic: this.topic.name, subscription: this.config.name, partition, offset };
      if (isRemoved) logger.warn(context, 'retention removed a message before it was dead-lettered');
      else logger.error(context, 'a message could not be dead-lettered: it is delivered again');
      this.state.deadLetterFailed(partition, offset, this.#nowMs());
    }
    batch.answerRefused();
    let durable: Promise<void>;
    try {
      // Before the messages are settled: if the store refuses the batch, a cursor that waits must not settle them.
      durable = submit(storage, {
        durability: 'synced',
        changes: [...batch.changes, ...this.cursorUpdates(batch.partitions)],
      });
    } catch (error) {
      endOnDefect(error);
      batch.answerAccepted(error);
      return;
    }
    for (const { partition, offset } of batch.accepted) this.state.deadLettered(partition, offset);
    counters.deadLetteredMessages += batch.accepted.length;
    this.apply();
    let failure: unknown;
    try {
      await durable;
    } catch (error) {
      endOnDefect(error);
      failure = error;
    }
    batch.answerAccepted(failure);
  }

  #nowMs(): number {
    return this.#services.clock.monotonicMs();
  }
}

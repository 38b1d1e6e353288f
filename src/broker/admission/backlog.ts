import type { Clock } from '../../base/clock.js';
import { SluiceError } from '../../base/errors.js';
import { endOnDefect } from '../../base/invariant.js';
import { limits } from '../../base/limits.js';
import type { Logger } from '../../base/logger.js';
import type { TopicConfig } from '../../base/model.js';
import type { Storage } from '../../storage/types.js';
import type { Alarm, Sleeper } from '../alarm.js';
import { type RefusingGate, Waiters } from './admission-gate.js';

export interface BacklogServices {
  readonly storage: Storage;
  readonly alarm: Alarm;
  readonly logger: Logger;
  readonly clock: Pick<Clock, 'monotonicMs'>;
}

/** The part of a topic that its backlog measures. */
export interface BackloggedTopic {
  readonly topicId: number;
  readonly name: string;
  readonly config: Pick<TopicConfig, 'partitionCount' | 'backlogLimit'>;
  readonly isDeleted: boolean;
  readonly subscriptions: { values(): Iterable<BackloggedSubscription> };
}

export interface BackloggedSubscription {
  /** Everything below is settled. */
  acknowledgedOffset(partition: number): number;
  partitionStatus(partition: number): { readonly backlogMessageCount: number };
}

/** What may still be stored before a subscription has to settle something. */
interface Room {
  messages: number;
  bytes: number;
}

type Measuring =
  | { readonly kind: 'idle' }
  | { readonly kind: 'soon' }
  /**
   * `taken`: submitted since the measurement began. `isStale`: the measurement may have missed a later settlement.
   * `hasOldLimit`: the limit or the subscriptions have changed since.
   */
  | { readonly kind: 'underWay'; readonly taken: Room; isStale: boolean; hasOldLimit: boolean };

const endlessRoom: Room = { messages: Number.POSITIVE_INFINITY, bytes: Number.POSITIVE_INFINITY };

/**
 * The backlog limit of a topic: how far its slowest subscription may fall behind before its producers are held.
 * The room is measured now and then, and every publication is subtracted from it. Settlements can only add room,
 * so there is never less room than `#room` says. It is measured again only when it is used up.
 */
export class Backlog implements Sleeper, RefusingGate {
  readonly holdReason = 'backlog';
  readonly #topic: BackloggedTopic;
  readonly #services: BacklogServices;
  #room: Room = { ...endlessRoom };
  /** Submitted and not committed: on the way to the log. */
  readonly #uncommitted: Room = { messages: 0, bytes: 0 };
  readonly #waiters = new Waiters();
  #measuring: Measuring = { kind: 'idle' };

  constructor(topic: BackloggedTopic, services: BacklogServices) {
    this.#topic = topic;
    this.#services = services;
    this.limitChanged();
  }

  get isClosed(): boolean {
    return this.#room.messages <= 0 || this.#room.bytes <= 0;
  }

  /** The number of streams that wait here. */
  get waitingCount(): number {
    return this.#waiters.count;
  }

  wait(enter: () => void): () => void {
    return this.#waiters.add(enter);
  }

  submitted(messages: number, bytes: number): void {
    this.#uncommitted.messages += messages;
    this.#uncommitted.bytes += bytes;
    this.#room.messages -= messages;
    this.#room.bytes -= bytes;
    if (this.#measuring.kind === 'underWay') {
      this.#measuring.taken.messages += messages;
      this.#measuring.taken.bytes += bytes;
    }
    if (this.isClosed) this.#measureSoon();
  }

  committed(messages: number, bytes: number): void {
    this.#uncommitted.messages -= messages;
    this.#uncommitted.bytes -= bytes;
    if (this.isClosed) this.#measureSoon();
  }

  /** A subscription has settled messages or was deleted: there may be room. */
  settled(): void {
    if (this.isClosed) this.#measureSoon();
  }

  /** The topic has a new limit, or a new subscription that may be far behind. */
  limitChanged(): void {
    const { maxBytes, maxMessages } = this.#topic.config.backlogLimit;
    // A measurement under way still uses the old limit: it has to be repeated.
    if (this.#measuring.kind === 'underWay') this.#measuring.hasOldLimit = true;
    if (maxBytes === 0 && maxMessages === 0) this.#setRoom({ ...endlessRoom });
    else this.#measureSoon();
  }

  /** The topic was deleted: admits every waiting stream, which then learns of the deletion. */
  release(): void {
    this.#setRoom({ ...endlessRoom });
  }

  wake(): void {
    void this.#measure();
  }

  refusal(): SluiceError {
    const { maxBytes, maxMessages } = this.#topic.config.backlogLimit;
    return new SluiceError(
      'BACKLOG_FULL',
      `the slowest subscription of topic "${this.#topic.name}" is too far behind: its backlog limit is reached`,
      {
        retryAfterMs: limits.backlogRetryAfterMs,
        metadata: { topic: this.#topic.name, maxBytes: String(maxBytes), maxMessages: String(maxMessages) },
      },
    );
  }

  /** Not at each settlement, but soon: many settlements cause one measurement. */
  #measureSoon(): void {
    if (this.#measuring.kind === 'underWay') this.#measuring.isStale = true;
    if (this.#measuring.kind !== 'idle') return;
    this.#measuring = { kind: 'soon' };
    const { alarm, clock } = this.#services;
    alarm.set(this, clock.monotonicMs() + limits.backlogMeasureDelayMs);
  }

  async #measure(): Promise<void> {
    const topic = this.#topic;
    const measuring: Measuring & { kind: 'underWay' } = {
      kind: 'underWay',
      taken: { messages: 0, bytes: 0 },
      isStale: false,
      hasOldLimit: false,
    };
    this.#measuring = measuring;
    const uncommitted = { ...this.#uncommitted };
    let room = { ...endlessRoom };
    try {
      room = await this.#measureRoom();
    } catch (error) {
      endOnDefect(error);
      // A damaged record below the cursor must not hold producers. A topic that was deleted meanwhile has no
      // backlog.
      if (!topic.isDeleted) {
        this.#services.logger.error({ error, topic: topic.name }, 'the backlog could not be measured');
      }
    }
    // What was committed meanwhile may be subtracted twice. Its commit causes another measurement.
    room.messages -= uncommitted.messages + measuring.taken.messages;
    room.bytes -= uncommitted.bytes + measuring.taken.bytes;
    this.#measuring = { kind: 'idle' };
    this.#setRoom(topic.isDeleted ? { ...endlessRoom } : room);
    if (measuring.hasOldLimit || (measuring.isStale && this.isClosed)) this.#measureSoon();
  }

  async #measureRoom(): Promise<Room> {
    const topic = this.#topic;
    const { maxBytes, maxMessages } = topic.config.backlogLimit;
    const room = { ...endlessRoom };
    for (let partition = 0; partition < topic.config.partitionCount; partition++) {
      for (const subscription of topic.subscriptions.values()) {
        if (topic.isDeleted) return room;
        if (maxMessages > 0) {
          const { backlogMessageCount } = subscription.partitionStatus(partition);
          room.messages = Math.min(room.messages, maxMessages - backlogMessageCount);
        }
        if (maxBytes > 0) {
          const behind = await this.#bytesBehind(partition, subscription.acknowledgedOffset(partition));
          room.bytes = Math.min(room.bytes, maxBytes - behind);
        }
      }
    }
    return room;
  }

  async #bytesBehind(partition: number, offset: number): Promise<number> {
    const { storage } = this.#services;
    const { topicId } = this.#topic;
    const { endOffset } = storage.extent(topicId, partition);
    return offset >= endOffset ? 0 : storage.bytesFrom(topicId, partition, offset);
  }

  #setRoom(room: Room): void {
    this.#room = room;
    this.#waiters.admit(() => !this.isClosed);
  }
}

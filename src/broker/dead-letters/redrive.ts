import type { Clock, Timer } from '../../base/clock.js';
import { SluiceError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import type { SubscriptionConfig } from '../../base/model.js';
import { partitionOfKey } from '../../core/routing.js';
import { messageKeyRange } from '../../envelope/message-bytes.js';
import type { Append, Storage } from '../../storage/types.js';
import type { FreeDiskWatch } from '../admission/free-disk-watch.js';
import type { PublishGate } from '../admission/publish-gate.js';
import { expectWhole, invalid } from '../checks.js';
import { commit } from '../committer.js';
import type { Serving } from '../serving.js';
import type { Topic, TopicFollower } from '../topics/topic.js';
import type { RedriveOptions, RedriveSession, RedriveSink } from '../types.js';
import { type DeadLetter, type DeadLetterPage, DeadLetterScan, type ScanRange } from './dead-letter-scan.js';
import { findDeadLetterTopic } from './dead-letter-topic.js';
import { Pace } from './pace.js';

export interface RedriveServices {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly gate: PublishGate;
  readonly serving: Serving;
  readonly disk: Pick<FreeDiskWatch, 'check'>;
  readonly topics: {
    /** The topic of this name, if it exists. */
    find(name: string): Topic | undefined;
  };
}

/** The subscription that gets its dead letters back. */
export interface RedrivenSubscription {
  readonly subscriptionId: number;
  readonly topic: Topic;
  readonly config: SubscriptionConfig;
  /** Only one redrive of a subscription at a time, so that no dead letter is sent back twice. The latest one wins. */
  beginRedrive(redrive: Redrive): void;
  endRedrive(redrive: Redrive): void;
}

/** The dead-letter topic and the ranges to send back. Undefined if the dead-letter topic does not exist. */
type Source = { readonly topic: Topic; readonly ranges: readonly ScanRange[] } | undefined;

/**
 * A redrive under way. The dead letters that existed when it began go back to the subscription that dead-lettered
 * them, as messages of its topic that no other subscription gets. Each batch is one commit, together with the note
 * of the progress, so the next redrive continues where this one ended. Messages that fail again meanwhile are left
 * for the next redrive.
 */
export class Redrive implements RedriveSession, TopicFollower {
  readonly #services: RedriveServices;
  readonly #subscription: RedrivenSubscription;
  readonly #options: RedriveOptions;
  readonly #sink: RedriveSink;
  readonly #pace: Pace;
  #deadLetterTopic: Topic | undefined;
  /** The scan under way. */
  #scan: DeadLetterScan | undefined;
  #ticker: Timer | undefined;
  #stopWaiting: (() => void) | undefined;
  #redrivenCount = 0;
  #remainingCount = 0;
  #hasEnded = false;

  constructor(
    services: RedriveServices,
    subscription: RedrivenSubscription,
    options: RedriveOptions,
    sink: RedriveSink,
  ) {
    this.#services = services;
    this.#subscription = subscription;
    this.#options = options;
    this.#sink = sink;
    checkOptions(options);
    this.#pace = new Pace(options.ratePerSecond);
  }

  /** Ends another redrive of the subscription, unless this one is a dry run. */
  start(): void {
    if (!this.#options.isDryRun) this.#subscription.beginRedrive(this);
    this.#tick();
    void this.#run();
  }

  close(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#ticker?.cancel();
    this.#deadLetterTopic?.removeFollower(this);
    this.#subscription.endRedrive(this);
    this.#scan?.close();
    this.#stopWaiting?.();
  }

  /** The subscription or its topic was deleted, or another redrive has taken over. */
  stop(error: SluiceError): void {
    this.#end(error);
  }

  /** The dead-letter topic was deleted, or the broker drains. */
  topicEnded(error: SluiceError): void {
    this.#end(error);
  }

  /** Later dead letters are left for the next redrive. */
  grown(): void {}

  async #run(): Promise<void> {
    try {
      const source = await this.#find();
      if (source !== undefined && !this.#hasEnded) await this.#count(source);
      if (this.#hasEnded) return;
      if (this.#options.isDryRun) this.#moved(Math.min(this.#remainingCount, this.#most));
      else if (source !== undefined) await this.#redriveAll(source);
      this.#end(undefined);
    } catch (error) {
      this.#end(SluiceError.from(error));
    }
  }

  #end(error: SluiceError | undefined): void {
    if (this.#hasEnded) return;
    this.#report();
    this.close();
    this.#sink.ended(error);
  }

  // --- Telling how far it is ---------------------------------------------------------------------------------

  #tick(): void {
    const { clock } = this.#services;
    this.#ticker = clock.after(limits.redriveProgressEveryMs, () => {
      this.#report();
      this.#tick();
    });
  }

  #report(): void {
    this.#sink.progress({ redrivenCount: this.#redrivenCount, remainingCount: this.#remainingCount });
  }

  #moved(count: number): void {
    this.#redrivenCount += count;
    this.#remainingCount -= count;
  }

  // --- What there is -----------------------------------------------------------------------------------------

  async #find(): Promise<Source> {
    const { storage, topics } = this.#services;
    // Submissions of an interrupted redrive come before this barrier: the note that is read below includes them.
    await commit(storage, { durability: 'synced' });
    const topic = findDeadLetterTopic(topics, this.#subscription.config);
    if (topic === undefined || this.#hasEnded) return undefined;
    this.#deadLetterTopic = topic;
    topic.addFollower(this);
    const offsets = await storage.readRedrives(this.#subscription.subscriptionId, topic.topicId);
    if (this.#hasEnded) return undefined;
    const ranges = Array.from({ length: topic.config.partitionCount }, (_, partition) => {
      const { firstOffset, endOffset } = storage.extent(topic.topicId, partition);
      return { partition, next: Math.max(offsets.get(partition) ?? 0, firstOffset), end: endOffset };
    });
    return { topic, ranges };
  }

  async #count({ topic, ranges }: NonNullable<Source>): Promise<void> {
    for (const range of ranges) {
      const scan = this.#open(topic, range);
      try {
        for (let page = await scan.next(); page !== undefined; page = await scan.next()) {
          this.#remainingCount += page.deadLetters.length;
        }
      } finally {
        scan.close();
      }
      if (this.#hasEnded) return;
    }
    this.#report();
  }

  #open(topic: Topic, range: ScanRange): DeadLetterScan {
    const { subscriptionId, config } = this.#subscription;
    const { topic: topicName, name, createTimeMs } = config;
    const owner = { topic: topicName, subscription: name, subscriptionId, createTimeMs };
    this.#scan = new DeadLetterScan(this.#services.storage, topic, range, owner);
    return this.#scan;
  }

  // --- Sending it back ---------------------------------------------------------------------------------------

  /** How many more messages may be sent back. */
  get #most(): number {
    const { limit } = this.#options;
    return limit === 0 ? Number.POSITIVE_INFINITY : limit - this.#redrivenCount;
  }

  /** Sends the partitions back one after another: equal keys share a partition, and keep their order. */
  async #redriveAll({ topic, ranges }: NonNullable<Source>): Promise<void> {
    for (const range of ranges) {
      const scan = this.#open(topic, range);
      try {
        for (let page = await scan.next(); page !== undefined; page = await scan.next()) {
          await this.#redrivePage(range.partition, page);
          if (this.#most === 0) return;
        }
      } finally {
        scan.close();
      }
      if (this.#hasEnded) return;
    }
  }

  async #redrivePage(partition: number, page: DeadLetterPage): Promise<void> {
    let from = 0;
    while (from < page.deadLetters.length && this.#most > 0) {
      await this.#whenReady();
      if (this.#hasEnded) return;
      const count = Math.min(this.#pace.burst, this.#most);
      const deadLetters = page.deadLetters.slice(from, from + count);
      from += deadLetters.length;
      const isLast = from === page.deadLetters.length;
      await this.#send(partition, deadLetters, isLast ? page.nextOffset : deadLetters.at(-1)!.offset + 1);
    }
  }

  async #send(partition: number, deadLetters: readonly DeadLetter[], nextOffset: number): Promise<void> {
    const { storage, clock, gate, serving, disk } = this.#services;
    const { backlog, line } = this.#subscription.topic;
    serving.check();
    disk.check();
    const appends = this.#appendsOf(deadLetters);
    const durable = commit(storage, {
      durability: 'synced',
      changes: [
        ...appends,
        {
          kind: 'redrive',
          subscriptionId: this.#subscription.subscriptionId,
          deadLetterTopicId: this.#deadLetterTopic!.topicId,
          partition,
          offset: nextOffset,
        },
      ],
    });
    let byteLength = 0;
    for (const append of appends) byteLength += append.byteLength;
    gate.submitted(line, byteLength);
    backlog.submitted(deadLetters.length, byteLength);
    this.#pace.taken(deadLetters.length, clock.monotonicMs());
    await durable;
    gate.committed(line, byteLength);
    backlog.committed(deadLetters.length, byteLength);
    this.#moved(deadLetters.length);
  }

  #appendsOf(deadLetters: readonly DeadLetter[]): Append[] {
    const byPartition = new Map<number, Uint8Array[]>();
    for (const deadLetter of deadLetters) {
      const partition = this.#targetPartition(deadLetter);
      const chunks = byPartition.get(partition);
      if (chunks === undefined) byPartition.set(partition, [deadLetter.entry]);
      else chunks.push(deadLetter.entry);
    }
    return Array.from(byPartition, ([partition, chunks]) => ({
      kind: 'append',
      topicId: this.#subscription.topic.topicId,
      partition,
      producerId: '',
      targetSubscriptionId: this.#subscription.subscriptionId,
      chunks,
      count: chunks.length,
      byteLength: chunks.reduce((bytes, chunk) => bytes + chunk.byteLength, 0),
    }));
  }

  /** By the key. A message without a key goes back to its original partition. */
  #targetPartition({ entry, originPartition }: DeadLetter): number {
    const { partitionCount } = this.#subscription.topic.config;
    const key = messageKeyRange(entry);
    if (key.from !== key.to) return partitionOfKey(entry, key.from, key.to, partitionCount);
    // A dead letter without an id may come from an earlier topic of the same name with more partitions.
    return originPartition < partitionCount ? originPartition : 0;
  }

  // --- Waiting -----------------------------------------------------------------------------------------------

  /** Resolves when the next batch may be sent, or when the redrive has ended. */
  async #whenReady(): Promise<void> {
    const { clock, gate } = this.#services;
    const { backlog, line } = this.#subscription.topic;
    // One admission is enough: the streams that were admitted with this redrive may have filled the queue since.
    let isLetIn = false;
    while (!this.#hasEnded) {
      const waitMs = this.#pace.waitMs(clock.monotonicMs());
      if (waitMs > 0) {
        await this.#wait((go) => {
          const timer = clock.after(waitMs, go);
          return () => timer.cancel();
        });
      } else if (backlog.isClosed) {
        // Waits even if the topic refuses producers: a redrive shows that it makes no progress.
        await this.#wait((go) => backlog.wait(go));
      } else if (!isLetIn && gate.isClosedFor(line)) {
        await this.#wait((go) => gate.wait(line, () => go(), 0));
        isLetIn = true;
      } else return;
    }
  }

  /** Waits until `go` is called, or the redrive ends. `begin` returns a function that gives up waiting. */
  #wait(begin: (go: () => void) => () => void): Promise<void> {
    return new Promise((resolve) => {
      const giveUp = begin(resolve);
      this.#stopWaiting = () => {
        giveUp();
        resolve();
      };
    });
  }
}

/** Throws INVALID_FIELD. */
function checkOptions({ limit, ratePerSecond }: RedriveOptions): void {
  expectWhole(limit, 'limit', 'the limit of messages');
  if (ratePerSecond >= 0 && Number.isFinite(ratePerSecond)) return;
  throw invalid('redriveRate', `the rate must be 0 or more messages a second, not ${ratePerSecond}`);
}

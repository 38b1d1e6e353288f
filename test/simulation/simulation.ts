import assert from 'node:assert/strict';
import { SluiceError } from '../../src/base/errors.js';
import type { StartPosition } from '../../src/base/model.js';
import type { Reason } from '../../src/base/reasons.js';
import { dayMs, hourMs, MiB, secondMs } from '../../src/base/units.js';
import type { SubscriptionPartitionInfo } from '../../src/broker/types.js';
import type { Settlement } from '../../src/core/types.js';
import type { Transaction } from '../../src/storage/types.js';
import { type Action, type SimulationEvent, weights } from './actions.js';
import { Books, keys, type SubscriptionBook } from './books.js';
import { Chance } from './chance.js';
import { Consumer, type Frame } from './consumer.js';
import { Draws } from './draws.js';
import { storeOptions } from './held-storage.js';
import { Host } from './host.js';
import type { Draft } from './messages.js';
import { Producer, ProducerName } from './producer.js';
import { Redrive, type RedriveDraw } from './redrive.js';

export interface SimulationOptions {
  readonly seed: number;
  /** Empty, on a fast disk. */
  readonly directory: string;
  readonly stepCount: number;
  readonly trace: (text: string) => void;
  /** Something happened that a run is there for. */
  readonly count: (event: SimulationEvent) => void;
}

/** Starting a broker costs more than all steps of a run. */
const mostCrashes = 2;
const mostSubscriptions = 5;
/** Of one producer name that are not fenced. */
const mostProcesses = 3;
/** More rounds than any backlog needs that can be settled at all. */
const mostDrainRounds = 400;

/** How a call may end whose topic was deleted since it was made. */
const goneReasons: ReadonlySet<Reason> = new Set([
  'TOPIC_NOT_FOUND',
  'TOPIC_DELETED',
  'SUBSCRIPTION_NOT_FOUND',
  'SUBSCRIPTION_DELETED',
]);

interface Seek {
  readonly subscriptionId: number;
  readonly partitionCount: number;
  readonly position: StartPosition;
  /** By partition, as far as they are known. */
  readonly targets: Map<number, number>;
}

/**
 * One run: a broker on its own store, driven by chance from a seed, and books beside it that say what must be true
 * after every step.
 */
export class Simulation {
  readonly #options: SimulationOptions;
  readonly #chance: Chance;
  readonly #draws: Draws;
  readonly #host: Host;
  #books: Books;
  #producers: Producer[] = [];
  /** Processes whose topic was deleted. */
  #orphans: Producer[] = [];
  #deletionCount = 0;
  #redrives: Redrive[] = [];
  #consumers: Consumer[] = [];
  /** Frames of streams that ended before the bytes left. */
  #lostFrames: Frame[] = [];
  #failure: unknown;
  #deliveryCount = 0;
  #nameCount = 0;
  #generation = 0;
  #crashCount = 0;
  #pendingAnswers = new Set<string>();
  #submittedCount = 0;
  #committedCount = 0;
  #seek: Seek | undefined;
  #hasSoughtNow = false;

  constructor(options: SimulationOptions) {
    this.#options = options;
    this.#chance = new Chance(options.seed);
    this.#draws = new Draws(this.#chance);
    const backoffChance = this.#chance.pick([0, 0.5, 0.75]);
    this.#books = new Books(backoffChance, () => this.#count('drop'));
    this.#host = new Host({
      directory: options.directory,
      random: this.#chance.random,
      chance: backoffChance,
      failed: (error) => {
        this.#failure ??= error;
      },
      watcher: {
        submitted: (transaction, offsets) => this.#guard(() => this.#submitted(transaction, offsets)),
        committed: (transaction, offsets) => {
          this.#committedCount += 1;
          this.#guard(() => this.#books.committed(transaction, offsets));
        },
        recovered: (id, cursors) =>
          this.#guard(() => {
            for (const [partition, cursor] of cursors) this.#books.checkCursors(id, partition, cursor);
          }),
        removing: (topicId, partition, offset) => {
          this.#count('removal');
          this.#guard(() => this.#books.checkRemoval(topicId, partition, offset));
        },
        lookedUp: (partition, timeMs, offset) => this.#lookedUp(partition, timeMs, offset),
      },
    });
  }

  async run(): Promise<void> {
    await this.#host.start();
    await this.#setUp();
    for (let step = 0; step < this.#options.stepCount; step += 1) {
      await this.#step(this.#chance.weighted(weights));
    }
    await this.#drain();
  }

  /** Gives back threads and files, however the run ended. */
  async dispose(): Promise<void> {
    await this.#host.stop();
  }

  // --- Steps ------------------------------------------------------------------------------------------------

  async #step(action: Action): Promise<void> {
    if (action === 'crash') {
      if (this.#crashCount < mostCrashes) await this.#crash();
      return;
    }
    this.#trace(`${this.#nowMs} ${action}`);
    this.#hasSoughtNow = false;
    this.#actions[action]();
    await this.#quiesce();
  }

  readonly #actions: Readonly<Record<Exclude<Action, 'crash'>, () => void>> = {
    publish: () => this.#publish(),
    startProcess: () => this.#startProcess(),
    answerRound: () => this.#host.storage.answerRound(),
    answerCall: () => this.#answerCall(),
    send: () => this.#send(),
    settle: () => this.#settle(),
    advance: () => this.#advance(this.#chance.below(600)),
    openSession: () => this.#openSession(),
    closeSession: () => this.#closeSession(),
    setCredit: () => this.#setCredit(),
    seek: () => this.#beginSeek(),
    changeRules: () => this.#changeRules(),
    growTopic: () => this.#growTopic(),
    changeClock: () => this.#changeClock(),
    fillQueue: () => this.#host.storage.setRoom(!this.#host.storage.hasRoom),
    createSubscription: () => this.#createSubscription(this.#chance.pick(this.#topicNames)!),
    deleteSubscription: () => this.#deleteSubscription(),
    replaceTopic: () => this.#replaceTopic(),
    redrive: () => this.#redrive(),
  };

  async #quiesce(): Promise<void> {
    await this.#host.storage.quiesce();
    if (this.#failure !== undefined) throw this.#failure;
    this.#books.checkDrops();
    this.#checkStatus();
    this.#checkConsumers();
  }

  /**
   * Either between two steps, with everything on the disk that was submitted, answered or not; or in the middle of
   * a step, before anything of it is on the disk.
   */
  async #crash(): Promise<void> {
    this.#crashCount += 1;
    const isInStep = this.#chance.oneIn(2);
    this.#trace(`${this.#nowMs} crash ${isInStep ? 'before' : 'after'} the commit`);
    const books = this.#books.clone();
    if (isInStep) {
      // The processes of a replaced topic are others: they could not go back to before.
      const steps = (Object.keys(this.#actions) as Exclude<Action, 'crash'>[]).filter(
        (action) => action !== 'replaceTopic',
      );
      this.#actions[this.#chance.pick(steps)!]();
    }
    if (isInStep) this.#count('crashBeforeCommit');
    else if (this.#host.storage.heldRoundCount > 0) this.#count('crashBeforeAnswer');
    this.#host.crash();
    this.#generation += 1;
    this.#books = books;
    this.#consumers = [];
    this.#lostFrames = [];
    this.#pendingAnswers.clear();
    this.#seek = undefined;
    await this.#host.bury();
    await this.#host.start();
    this.#submittedCount = 0;
    this.#committedCount = 0;
    this.#books.restart();
    await this.#auditLogs();
    this.#orphans = [];
    this.#redrives = [];
    for (const producer of this.#producers) producer.connect(this.#host.broker);
    await this.#quiesce();
  }

  async #setUp(): Promise<void> {
    const names = ['orders', 'events', 'morgue'].slice(0, 2 + this.#chance.below(2));
    for (const name of names) {
      this.#createTopic(name);
      await this.#quiesce();
      this.#host.storage.answerRound();
      await this.#quiesce();
      this.#openSession(this.#draws.credit(), this.#subscriptionIds.at(-1));
      await this.#quiesce();
    }
  }

  /** With the processes that produce for it, and a subscription. */
  #createTopic(name: string): void {
    const config = this.#draws.topicConfig(name);
    this.#expectCommitted(`creation of ${name}`, this.#host.broker.createTopic(config));
    const mayBeRefused = config.backlogLimit.whenFull === 'reject';
    const ids = mayBeRefused ? [''] : ['', 'till-1', 'till-2'];
    for (const id of ids.slice(0, 1 + this.#chance.below(ids.length))) {
      this.#addProducer(new ProducerName(id, name), mayBeRefused);
    }
    this.#createSubscription(name);
  }

  /** Deletes a topic while everything that uses it goes on, and makes another one of its name. */
  #replaceTopic(): void {
    const name = this.#chance.pick([...new Set(this.#topicNames)]);
    if (name === undefined) return;
    const { topicId } = this.#books.topic(name);
    if (this.#books.subscriptions.get(this.#seek?.subscriptionId ?? 0)?.topicId === topicId) return;
    this.#count('topicDeletion');
    this.#trace(`  ${name}`);
    const deleted = this.#producers.filter(({ topic }) => topic === name);
    this.#producers = this.#producers.filter(({ topic }) => topic !== name);
    for (const producer of deleted) producer.topicDeleted();
    this.#orphans.push(...deleted);
    this.#deletionCount += 1;
    this.#expectCommitted(`deletion of ${name}`, this.#host.broker.deleteTopic(name));
    const { subscriptions } = this.#books;
    this.#consumers = this.#consumers.filter(({ subscriptionId }) => subscriptions.has(subscriptionId));
    this.#createTopic(name);
  }

  // --- Producing --------------------------------------------------------------------------------------------

  #addProducer(name: ProducerName, mayBeRefused: boolean): void {
    const producer = new Producer(name, mayBeRefused, {
      books: () => this.#books,
      trace: (text) => this.#trace(text),
      count: (event) => this.#count(event),
      guard: (check) => this.#guard(check),
      expect: (what, answer, check) => this.#expect(what, answer, check),
    });
    producer.connect(this.#host.broker);
    this.#producers.push(producer);
  }

  /** Another process takes a name that one has already, which may still send. */
  #startProcess(): void {
    const named = this.#producers.filter(({ isNamed }) => isNamed);
    const names = new Set(named.map(({ name }) => name));
    const name = this.#chance.pick([...names]);
    if (name === undefined) return;
    const sending = named.filter((producer) => producer.name === name && !producer.isFenced);
    if (sending.length >= mostProcesses) return;
    this.#trace(`  "${name.id}" of ${name.topic}`);
    this.#addProducer(name, false);
  }

  #publish(): void {
    const producer = this.#chance.pick(this.#producers.filter(({ isFenced }) => !isFenced));
    if (producer === undefined) return;
    const partitionCount = this.#host.broker.getTopic(producer.topic).partitions.length;
    const hasPartition = this.#chance.oneIn(4);
    const partition = hasPartition ? this.#chance.below(partitionCount) : undefined;
    const drafts = Array.from({ length: 1 + this.#chance.below(6) }, (): Draft => {
      this.#nameCount += 1;
      return { id: `m${this.#nameCount}`, key: this.#chance.pick(keys)!, padding: this.#chance.below(60) };
    });
    this.#trace(
      `  ${producer.topic}/${partition ?? '-'} by "${producer.id}": ${drafts.map((d) => d.id + d.key)}`,
    );
    producer.publish(drafts, partition);
  }

  // --- Consuming --------------------------------------------------------------------------------------------

  #openSession(
    credit = this.#draws.credit(),
    subscriptionId = this.#chance.pick(this.#subscriptionIds),
  ): void {
    if (subscriptionId === undefined) return;
    const { config } = this.#books.subscriptions.get(subscriptionId)!;
    this.#nameCount += 1;
    const generation = this.#generation;
    const consumer = new Consumer(`c${this.#nameCount}`, subscriptionId, credit, {
      nowMs: () => this.#nowMs,
      nextDeliveryId: () => {
        this.#deliveryCount += 1;
        return this.#deliveryCount;
      },
      book: () => this.#books.subscriptions.get(subscriptionId)!,
      topic: () => this.#books.topics.get(this.#books.subscriptions.get(subscriptionId)!.topicId)!,
      trace: (text) => this.#trace(text),
      count: (event) => this.#count(event),
      guard: (check) => {
        // What a broker that has crashed still does is not seen by anybody.
        if (generation === this.#generation) this.#guard(check);
      },
    });
    this.#trace(
      `  ${consumer.name} of ${config.topic}/${config.name} with ${credit.messages}, ${credit.bytes} bytes`,
    );
    const { topic, name: subscription } = config;
    const options = { topic, subscription, consumerId: consumer.name, peer: '', credit };
    const opening = this.#host.broker.subscribe({ ...options, start: { kind: 'earliest' } }, consumer);
    this.#consumers.push(consumer);
    this.#expect(`session ${consumer.name}`, opening, (session) => {
      consumer.session = session;
      this.#books.subscriptions.get(subscriptionId)?.model.open(consumer.name, consumer.isPaused);
      session.start();
    });
  }

  #closeSession(): void {
    const consumer = this.#anyConsumer();
    if (consumer !== undefined) this.#close(consumer);
  }

  #close(consumer: Consumer): void {
    this.#trace(`  ${consumer.name}`);
    consumer.isClosed = true;
    this.#consumers.splice(this.#consumers.indexOf(consumer), 1);
    this.#lostFrames.push(...consumer.frames);
    const end = this.#chance.pick(['left', 'cancelled', 'broke'] as const);
    consumer.book.model.close(consumer.name, end, this.#nowMs);
    consumer.session!.close(end);
  }

  #setCredit(consumer = this.#anyConsumer(), credit = this.#draws.credit()): void {
    if (consumer === undefined) return;
    consumer.credit = credit;
    consumer.book.model.setCredit(consumer.name, consumer.isPaused);
    this.#trace(`  ${consumer.name}: ${credit.messages}, ${credit.bytes} bytes`);
    assert.deepEqual(this.#host.broker.setCredit(consumer.session!.sessionId, credit), credit);
  }

  /** Bytes leave, in the order of each stream; of a stream that has ended, sometimes, and for nobody. */
  #send(): void {
    const consumer = this.#chance.pick(this.#consumers.filter(({ frames }) => frames.length > 0));
    if (consumer === undefined) this.#lostFrames.shift()?.written();
    else this.#sendFrame(consumer);
  }

  #sendFrame(consumer: Consumer): void {
    const { deliveryId, written } = consumer.frames.shift()!;
    consumer.book.model.sent(deliveryId, this.#nowMs);
    written();
  }

  #settle(): void {
    const consumer = this.#anyConsumer();
    if (consumer === undefined) return;
    const { model } = consumer.book;
    const settlements: Settlement[] = [];
    for (let i = this.#chance.below(3); i >= 0; i -= 1) {
      const own = this.#chance.oneIn(6) ? undefined : this.#chance.pick(model.heldBy(consumer.name));
      const target = own ?? this.#chance.pick(model.all());
      if (target === undefined) return;
      const first = Math.max(0, target.offset - this.#chance.pick([0, 0, 0, 1, 5, 1_000]));
      const last = target.offset + this.#chance.pick([0, 0, 0, 1, 4, 1_000]);
      settlements.push({ partition: target.partition, first, last, outcome: this.#draws.outcome() });
    }
    this.#settleAs(consumer, settlements);
  }

  #settleAs(consumer: Consumer, settlements: readonly Settlement[]): void {
    this.#trace(`  ${consumer.name}: ${JSON.stringify(settlements)}`);
    const expected = consumer.book.model.settle(consumer.name, settlements, this.#nowMs);
    consumer.settling(settlements);
    const settling = this.#host.broker.settle(consumer.session!.sessionId, settlements);
    this.#expectCommitted(`settlement of ${consumer.name}`, settling, (result) => {
      if (result.stale.length > 0) this.#count('staleSettlement');
      // With a subscription its notes of dead letters are deleted: then it is not known what contradicts them.
      const isDeleted = !this.#books.subscriptions.has(consumer.subscriptionId);
      const actual = isDeleted ? { ...expected, settledCount: result.settledCount } : result;
      assert.deepEqual(actual, expected, `settlement of ${consumer.name}`);
    });
  }

  // --- Administration ---------------------------------------------------------------------------------------

  #createSubscription(topic: string): void {
    const count = [...this.#books.subscriptions.values()].length;
    if (count >= mostSubscriptions) return;
    this.#nameCount += 1;
    const config = this.#draws.subscriptionConfig(topic, `s${this.#nameCount}`, this.#hasMorgue);
    const start: StartPosition = { kind: this.#chance.pick(['earliest', 'earliest', 'latest']) };
    this.#trace(
      `  ${topic}/${config.name} by ${config.ordering} from ${start.kind}: ${JSON.stringify(config)}`,
    );
    this.#expect(`creation of ${config.name}`, this.#host.broker.createSubscription(config, start));
  }

  #deleteSubscription(): void {
    const id = this.#chance.pick(this.#subscriptionIds);
    if (id === undefined || this.#seek?.subscriptionId === id) return;
    const { topic, name } = this.#books.subscriptions.get(id)!.config;
    this.#trace(`  ${topic}/${name}`);
    this.#expectCommitted(`deletion of ${name}`, this.#host.broker.deleteSubscription(topic, name));
    this.#consumers = this.#consumers.filter(({ subscriptionId }) => subscriptionId !== id);
  }

  /** Mostly of a subscription that has dead letters. */
  #redrive(): void {
    const having = this.#subscriptionIds.filter((id) => this.#books.hasDeadLetters(id));
    const subscriptionId = this.#chance.pick(
      having.length > 0 && !this.#chance.oneIn(5) ? having : this.#subscriptionIds,
    );
    if (subscriptionId === undefined) return;
    const draw = this.#draws.redrive();
    const { topic, name } = this.#books.subscriptions.get(subscriptionId)!.config;
    this.#trace(`  ${topic}/${name}: ${JSON.stringify(draw)}`);
    this.#startRedrive(subscriptionId, draw);
  }

  #startRedrive(subscriptionId: number, draw: RedriveDraw): void {
    const deletionCount = this.#deletionCount;
    const generation = this.#generation;
    const redrive = new Redrive(subscriptionId, draw, {
      books: () => this.#books,
      guard: (check) => {
        if (generation === this.#generation) this.#guard(check);
      },
      mayBeEnded: (ended) =>
        this.#deletionCount > deletionCount ||
        !this.#books.subscriptions.has(subscriptionId) ||
        this.#redrives.some(
          (other) =>
            other.subscriptionId === subscriptionId &&
            !other.draw.isDryRun &&
            this.#redrives.indexOf(other) > this.#redrives.indexOf(ended),
        ),
    });
    this.#redrives.push(redrive);
    redrive.start(this.#host.broker);
  }

  #changeRules(): void {
    const book = this.#anyBook();
    if (book === undefined) return;
    const { topic, name } = book.config;
    const { ackDeadlineMs, minBackoffMs, maxBackoffMs, deadLetter } = this.#draws.subscriptionConfig(
      topic,
      name,
      this.#hasMorgue,
    );
    const change = { ackDeadlineMs, minBackoffMs, maxBackoffMs, deadLetter };
    this.#trace(`  ${topic}/${name}: ${JSON.stringify(change)}`);
    this.#expectCommitted(`update of ${name}`, this.#host.broker.updateSubscription(topic, name, change));
  }

  #growTopic(): void {
    const name = this.#chance.pick(this.#topicNames)!;
    const partitionCount = this.#host.broker.getTopic(name).partitions.length + 1;
    if (partitionCount > storeOptions.maxPartitionCount) return;
    this.#trace(`  ${name} to ${partitionCount}`);
    this.#expectCommitted(`growth of ${name}`, this.#host.broker.updateTopic(name, { partitionCount }));
  }

  /** Takes effect with the first cursor that the subscription submits afterwards: see `#submitted`. */
  #beginSeek(): void {
    const subscriptionId = this.#chance.pick(this.#subscriptionIds);
    if (subscriptionId === undefined || this.#seek !== undefined) return;
    const { topic, name } = this.#books.subscriptions.get(subscriptionId)!.config;
    const { partitions } = this.#host.broker.getTopic(topic);
    const partition = this.#chance.oneIn(2) ? undefined : this.#chance.below(partitions.length);
    const { firstOffset, nextOffset } = partitions[partition ?? 0]!;
    const kinds = ['earliest', 'latest', 'time', partition === undefined ? 'earliest' : 'offset'] as const;
    const kind = this.#chance.pick(kinds);
    let position: StartPosition;
    if (kind === 'offset') {
      position = { kind, offset: firstOffset + this.#chance.below(nextOffset - firstOffset + 1) };
    } else if (kind === 'time') {
      // Nobody else looks up halves of a millisecond: its lookups are told from others by that.
      position = { kind, timeMs: this.#host.clock.wallMs() - this.#chance.below(5_000) - 0.5 };
    } else {
      position = { kind };
    }
    this.#trace(`  ${topic}/${name}/${partition ?? '*'} to ${JSON.stringify(position)}`);
    const targets = new Map<number, number>();
    const partitionCount = partition === undefined ? partitions.length : 1;
    const seek: Seek = { subscriptionId, partitionCount, position, targets };
    this.#seek = seek;
    this.#hasSoughtNow = kind !== 'time';
    for (const [each, info] of partitions.entries()) {
      if (partition !== undefined && partition !== each) continue;
      if (position.kind === 'earliest') targets.set(each, info.firstOffset);
      else if (position.kind === 'latest') targets.set(each, info.nextOffset);
      else if (position.kind === 'offset') targets.set(each, position.offset);
    }
    this.#expect(
      `seek of ${name}`,
      this.#host.broker.seekSubscription(topic, name, partition, position),
      () => {
        assert.notEqual(this.#seek, seek, 'a seek was answered that has not happened');
      },
    );
  }

  #answerCall(): void {
    const { storage } = this.#host;
    const kind = storage.answerCall(this.#chance.below(storage.heldCallCount));
    this.#trace(`  ${kind ?? 'none'}`);
  }

  // --- Time -------------------------------------------------------------------------------------------------

  /** Every timer at its own time; what is due then is due for the reference first. */
  #advance(byMs: number): void {
    const { clock } = this.#host;
    const untilMs = this.#nowMs + byMs;
    while (clock.nextAtMs <= untilMs) {
      const atMs = Math.max(this.#nowMs, clock.nextAtMs);
      this.#expire(atMs);
      clock.advance(atMs - this.#nowMs);
    }
    clock.advance(untilMs - this.#nowMs);
  }

  #changeClock(): void {
    const { clock } = this.#host;
    if (this.#chance.oneIn(2)) {
      clock.setWall(this.#chance.pick([-dayMs, -hourMs, 0, secondMs, hourMs]));
      return;
    }
    const byMs = this.#chance.pick([secondMs, 5 * secondMs, hourMs]);
    this.#expire(this.#nowMs + byMs);
    clock.leap(byMs);
  }

  #expire(atMs: number): void {
    for (const { model } of this.#books.subscriptions.values()) {
      const isDue = model.all().some(({ state, deadlineMs }) => state === 'held' && deadlineMs <= atMs);
      if (isDue) this.#count('expiry');
      model.expire(atMs);
    }
  }

  get #nowMs(): number {
    return this.#host.clock.monotonicMs();
  }

  // --- What the broker tells its store ------------------------------------------------------------------------

  #submitted(transaction: Transaction, firstOffsets: readonly number[]): void {
    this.#submittedCount += 1;
    const cursors = transaction.putSubscriptions === undefined ? (transaction.cursors ?? []) : [];
    const seek = this.#hasSoughtNow ? this.#seek : undefined;
    if (transaction.deadLetters !== undefined) this.#count('deadLetter');
    if (transaction.redrives !== undefined) this.#count('redrive');
    if (seek !== undefined && cursors.some(({ subscriptionId }) => subscriptionId === seek.subscriptionId)) {
      const { model, topicId } = this.#books.subscriptions.get(seek.subscriptionId)!;
      const { floors } = this.#books.topics.get(topicId)!;
      for (const [partition, offset] of seek.targets) {
        model.seek(partition, Math.max(offset, floors[partition]!));
      }
      this.#seek = undefined;
      this.#count('seek');
    }
    this.#books.submitted(transaction, firstOffsets);
    for (const { subscriptionId, partition, state } of cursors) {
      this.#books.checkCursors(subscriptionId, partition, state());
    }
  }

  /** With the last of its lookups a seek by time takes effect. */
  #lookedUp(partition: number, timeMs: number, offset: number): void {
    const seek = this.#seek;
    if (seek?.position.kind !== 'time' || seek.position.timeMs !== timeMs) return;
    seek.targets.set(partition, offset);
    this.#hasSoughtNow = seek.targets.size === seek.partitionCount;
  }

  // --- What must be true ------------------------------------------------------------------------------------

  /** The first thing found ends the run, with the step: the broker must not be the one to catch it. */
  #guard(check: () => void): void {
    try {
      check();
    } catch (error) {
      this.#failure ??= error;
    }
  }

  /** The answer is awaited; one that was asked of a broker that has crashed never comes. */
  #expect<T>(what: string, answer: Promise<T>, check: (result: T) => void = () => {}): void {
    const generation = this.#generation;
    const deletionCount = this.#deletionCount;
    this.#nameCount += 1;
    const name = `${what} (${this.#nameCount})`;
    this.#pendingAnswers.add(name);
    answer
      .then((result) => {
        if (generation !== this.#generation) return;
        this.#trace(`  answered: ${name}`);
        this.#pendingAnswers.delete(name);
        check(result);
      })
      .catch((error: unknown) => {
        if (generation !== this.#generation) return;
        this.#pendingAnswers.delete(name);
        const isGone = error instanceof SluiceError && goneReasons.has(error.reason);
        if (!isGone || deletionCount === this.#deletionCount) this.#failure ??= error;
      });
  }

  /** The same for what is on its way to the disk already: not before it is there. */
  #expectCommitted<T>(what: string, answer: Promise<T>, check: (result: T) => void = () => {}): void {
    const submittedCount = this.#submittedCount;
    this.#expect(what, answer, (result) => {
      assert.ok(this.#committedCount >= submittedCount, `${what} was answered before it was committed`);
      check(result);
    });
  }

  #checkStatus(): void {
    const { broker } = this.#host;
    for (const book of this.#books.subscriptions.values()) {
      const { topic, name } = book.config;
      for (const info of broker.getSubscription(topic, name).partitions) this.#checkPartition(book, info);
      for (const { consumerId, outstandingMessageCount, outstandingBytes } of broker.listConsumers(
        topic,
        name,
      )) {
        const held = book.model.heldBy(consumerId);
        const bytes = held.reduce((sum, message) => sum + message.bytes, 0);
        assert.deepEqual(
          [outstandingMessageCount, outstandingBytes],
          [held.length, bytes],
          `held by ${consumerId}`,
        );
      }
    }
  }

  /** What a consumer knows from its stream is what the books say. */
  #checkConsumers(): void {
    for (const { name, book, held, isClosed } of this.#consumers) {
      if (isClosed) continue;
      const places = book.model.heldBy(name).map(({ partition, offset }) => `${partition}/${offset}`);
      assert.deepEqual([...held].sort(), places.sort(), `${name} has not been told what it holds`);
    }
  }

  #checkPartition({ model, config }: SubscriptionBook, info: SubscriptionPartitionInfo): void {
    const { partition } = info;
    const messages = model.partitions[partition]!;
    assert.deepEqual(
      { ...info, sessionId: undefined },
      {
        partition,
        acknowledgedOffset: model.cursor(partition).acknowledgedOffset,
        backlogMessageCount: messages.filter(({ state }) => state !== 'settled').length,
        outstandingMessageCount: messages.filter(({ state }) => state === 'held').length,
        deadLetterCount: model.deadLetterCounts[partition],
        sessionId: undefined,
      },
      `partition ${partition} of ${config.name}`,
    );
  }

  async #auditLogs(): Promise<void> {
    const storedIds = new Set<string>();
    for (const topic of this.#books.topics.values()) {
      for (const partition of topic.entries.keys()) {
        const { firstOffset, entries } = await this.#host.storage.readAll(topic.topicId, partition);
        topic.floors[partition] = Math.max(topic.floors[partition]!, firstOffset);
        this.#books.checkLog(topic, partition, firstOffset, entries);
      }
    }
    this.#books.collectIds(storedIds);
    for (const { answeredIds } of this.#producers) {
      for (const id of answeredIds) assert.ok(storedIds.has(id), `${id} had its receipt, and is lost`);
    }
    this.#books.checkDeadLetters();
  }

  /** Consumers that acknowledge all they get leave nothing behind. */
  async #drain(): Promise<void> {
    this.#trace(`${this.#nowMs} drain`);
    const { storage } = this.#host;
    storage.setRoom(true);
    const plenty = { messages: 100, bytes: MiB };
    for (const consumer of this.#consumers)
      if (consumer.session !== undefined) this.#setCredit(consumer, plenty);
    for (const subscriptionId of this.#subscriptionIds) this.#openSession(plenty, subscriptionId);
    for (let round = 0; ; round += 1) {
      assert.ok(round < mostDrainRounds, `nothing moves any more: ${this.#describeRest()}`);
      while (storage.heldRoundCount + storage.heldCallCount > 0) {
        this.#hasSoughtNow = false;
        if (storage.heldRoundCount > 0) storage.answerRound();
        else storage.answerCall(0);
        await this.#quiesce();
      }
      for (const consumer of this.#consumers) {
        while (consumer.frames.length > 0) this.#sendFrame(consumer);
        const held = consumer.book.model.heldBy(consumer.name);
        const settlements = held.map(
          ({ partition, offset }): Settlement => ({
            partition,
            first: offset,
            last: offset,
            outcome: { kind: 'ack' },
          }),
        );
        if (settlements.length > 0) this.#settleAs(consumer, settlements);
      }
      await this.#quiesce();
      if (storage.heldRoundCount + storage.heldCallCount > 0) continue;
      if (this.#isDrained()) break;
      this.#advance(200);
      await this.#quiesce();
    }
    await this.#auditLogs();
  }

  #isDrained(): boolean {
    if (this.#pendingAnswers.size > 0) return false;
    if (this.#redrives.some(({ hasEnded }) => !hasEnded)) return false;
    const processes = [...this.#producers, ...this.#orphans];
    if (processes.some(({ unansweredCount }) => unansweredCount > 0)) return false;
    return [...this.#books.subscriptions.values()].every(({ model }) =>
      model.all().every(({ state }) => state === 'settled'),
    );
  }

  #describeRest(): string {
    const rest = [...this.#books.subscriptions.values()].map(({ config, model }) => ({
      name: config.name,
      open: model
        .all()
        .filter(({ state }) => state !== 'settled')
        .slice(0, 3),
    }));
    return JSON.stringify({
      pending: [...this.#pendingAnswers],
      producers: this.#producers.map(({ id, topic, unansweredCount }) => [topic, id, unansweredCount]),
      rest,
    });
  }

  // --- Chance -----------------------------------------------------------------------------------------------

  get #topicNames(): string[] {
    return this.#producers.map(({ topic }) => topic);
  }

  /** A topic for the dead letters of the others. */
  get #hasMorgue(): boolean {
    return this.#topicNames.includes('morgue');
  }

  get #subscriptionIds(): number[] {
    return [...this.#books.subscriptions.keys()];
  }

  #anyBook(): SubscriptionBook | undefined {
    return this.#chance.pick([...this.#books.subscriptions.values()]);
  }

  #anyConsumer(): Consumer | undefined {
    return this.#chance.pick(this.#consumers.filter(({ session }) => session !== undefined));
  }

  #count(event: SimulationEvent): void {
    this.#options.count(event);
  }

  #trace(text: string): void {
    this.#options.trace(text);
  }
}

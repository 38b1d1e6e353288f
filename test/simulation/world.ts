import assert from 'node:assert/strict';
import { SluiceError } from '../../src/base/errors.js';
import type { Reason } from '../../src/base/reasons.js';
import type { SimulationEvent } from './actions.js';
import { Chance } from './chance.js';
import type { Consumer, Frame } from './consumer.js';
import { Draws } from './draws.js';
import { Host } from './host.js';
import type { Producer } from './producer.js';
import type { Redrive } from './redrive.js';
import { ReferenceModel, type ReferenceSubscription } from './reference-model.js';
import type { Seek } from './seek.js';
import { StorageChecks } from './storage-checks.js';

export interface WorldOptions {
  readonly seed: number;
  /** Empty, on a fast disk. */
  readonly directory: string;
  readonly trace: (text: string) => void;
  /** Something happened that a run is there for. */
  readonly count: (event: SimulationEvent) => void;
}

/** How a call may end if its topic was deleted after the call was made. */
const goneReasons: ReadonlySet<Reason> = new Set([
  'TOPIC_NOT_FOUND',
  'TOPIC_DELETED',
  'SUBSCRIPTION_NOT_FOUND',
  'SUBSCRIPTION_DELETED',
]);

/** The state that all parts of one run share: the broker, its clients, the reference model, and the answers that are due. */
export class World {
  readonly chance: Chance;
  readonly draws: Draws;
  readonly host: Host;
  reference: ReferenceModel;
  producers: Producer[] = [];
  /** Processes whose topic was deleted. */
  orphans: Producer[] = [];
  redrives: Redrive[] = [];
  consumers: Consumer[] = [];
  /** Frames of streams that ended before their bytes left. */
  lostFrames: Frame[] = [];
  /** The seek that has not taken effect yet. There is one at most. */
  seek: Seek | undefined;
  /** Topics that were deleted so far. */
  deletionCount = 0;
  readonly pendingAnswers = new Set<string>();
  readonly #options: WorldOptions;
  readonly #storageChecks: StorageChecks;
  #generation = 0;
  #deliveryCount = 0;
  #numberCount = 0;
  #failure: unknown;

  constructor(options: WorldOptions) {
    this.#options = options;
    this.chance = new Chance(options.seed);
    this.draws = new Draws(this.chance);
    const backoffChance = this.chance.pick([0, 0.5, 0.75]);
    this.reference = new ReferenceModel(backoffChance, () => this.count('drop'));
    this.#storageChecks = new StorageChecks(this);
    this.host = new Host({
      directory: options.directory,
      random: this.chance.random,
      chance: backoffChance,
      failed: (error) => this.fail(error),
      watcher: this.#storageChecks,
    });
  }

  // --- The broker that runs -----------------------------------------------------------------------------------

  /** Rises with every crash: tells what the running broker does from what a crashed one still does. */
  get generation(): number {
    return this.#generation;
  }

  get nowMs(): number {
    return this.host.clock.monotonicMs();
  }

  /** The broker was killed: its sessions and calls have ended, and `reference` is what is on the disk. */
  crashed(reference: ReferenceModel): void {
    this.#generation += 1;
    this.reference = reference;
    this.consumers = [];
    this.lostFrames = [];
    this.pendingAnswers.clear();
    this.seek = undefined;
  }

  /** The next broker has started. */
  restarted(): void {
    this.#storageChecks.restarted();
    this.reference.restart();
  }

  // --- What must be true --------------------------------------------------------------------------------------

  /** Keeps the first failure, which ends the run after the step. Nothing is thrown: the broker could catch it. */
  guard(check: () => void): void {
    try {
      check();
    } catch (error) {
      this.fail(error);
    }
  }

  fail(error: unknown): void {
    this.#failure ??= error;
  }

  throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Watches a call: the run waits for its answer. A call of a broker that has crashed is never answered. */
  expect<T>(what: string, answer: Promise<T>, check: (result: T) => void = () => {}): void {
    const generation = this.#generation;
    const deletionCount = this.deletionCount;
    const name = `${what} (${this.nextNumber()})`;
    this.pendingAnswers.add(name);
    answer
      .then((result) => {
        if (generation !== this.#generation) return;
        this.trace(`  answered: ${name}`);
        this.pendingAnswers.delete(name);
        check(result);
      })
      .catch((error: unknown) => {
        if (generation !== this.#generation) return;
        this.pendingAnswers.delete(name);
        const isGone = error instanceof SluiceError && goneReasons.has(error.reason);
        if (!isGone || deletionCount === this.deletionCount) this.fail(error);
      });
  }

  /** As `expect`; and the answer does not come before the commit of what has been submitted by now. */
  expectCommitted<T>(what: string, answer: Promise<T>, check: (result: T) => void = () => {}): void {
    const { submittedCount } = this.#storageChecks;
    this.expect(what, answer, (result) => {
      const { committedCount } = this.#storageChecks;
      assert.ok(committedCount >= submittedCount, `${what} was answered before it was committed`);
      check(result);
    });
  }

  // --- Names and numbers --------------------------------------------------------------------------------------

  /** For a name that no other thing of the run has. */
  nextNumber(): number {
    this.#numberCount += 1;
    return this.#numberCount;
  }

  nextDeliveryId(): number {
    this.#deliveryCount += 1;
    return this.#deliveryCount;
  }

  /** A name is there once for each of its producers: a topic with more producers is picked more often. */
  get topicNames(): string[] {
    return this.producers.map(({ topic }) => topic);
  }

  /** There is a topic for the dead letters of the others. */
  get hasMorgue(): boolean {
    return this.topicNames.includes('morgue');
  }

  get subscriptionIds(): number[] {
    return [...this.reference.subscriptions.keys()];
  }

  anySubscription(): ReferenceSubscription | undefined {
    return this.chance.pick([...this.reference.subscriptions.values()]);
  }

  anyConsumer(): Consumer | undefined {
    return this.chance.pick(this.consumers.filter(({ session }) => session !== undefined));
  }

  // --- The run's output ---------------------------------------------------------------------------------------

  count(event: SimulationEvent): void {
    this.#options.count(event);
  }

  trace(text: string): void {
    this.#options.trace(text);
  }
}

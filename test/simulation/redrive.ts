import assert from 'node:assert/strict';
import type { SluiceError } from '../../src/base/errors.js';
import type { SubscriptionConfig } from '../../src/base/model.js';
import { deadLetterTopicName } from '../../src/broker/dead-letters/dead-letter-topic.js';
import type { Broker, RedriveProgress, RedriveSession, RedriveSink } from '../../src/broker/types.js';
import type { ReferenceModel } from './reference-model.js';

/** The part of a run that a redrive uses. */
export interface RedriveWorld {
  readonly reference: ReferenceModel;
  /** In the order in which they began. */
  readonly redrives: readonly Redrive[];
  readonly generation: number;
  readonly deletionCount: number;
  guard(check: () => void): void;
}

export interface RedriveDraw {
  readonly isDryRun: boolean;
  readonly limit: number;
  readonly ratePerSecond: number;
}

/** One call that sends the dead letters of a subscription back. */
export class Redrive implements RedriveSink {
  readonly subscriptionId: number;
  readonly draw: RedriveDraw;
  hasEnded = false;
  session: RedriveSession | undefined;
  readonly #world: RedriveWorld;
  readonly #generation: number;
  readonly #deletionCount: number;
  readonly #config: SubscriptionConfig;
  readonly #deadLetters: ReturnType<ReferenceModel['deadLettersOf']>;
  #last: RedriveProgress = { redrivenCount: 0, remainingCount: 0 };

  constructor(subscriptionId: number, draw: RedriveDraw, world: RedriveWorld) {
    this.subscriptionId = subscriptionId;
    this.draw = draw;
    this.#world = world;
    this.#generation = world.generation;
    this.#deletionCount = world.deletionCount;
    const { reference } = world;
    this.#config = reference.subscriptions.get(subscriptionId)!.config;
    const name = deadLetterTopicName(this.#config);
    const topic = [...reference.topics.values()].find((each) => each.name === name);
    // What is not committed yet may be seen by the redrive or not.
    this.#deadLetters =
      topic === undefined
        ? []
        : reference
            .deadLettersOf(subscriptionId, topic.topicId)
            .filter(({ partition, offset }) => offset < topic.ends[partition]!);
  }

  start(broker: Broker): void {
    const { topic, name } = this.#world.reference.subscriptions.get(this.subscriptionId)!.config;
    this.session = broker.redrive({ topic, subscription: name, ...this.draw }, this);
  }

  progress(progress: RedriveProgress): void {
    this.#guard(() => {
      const { isDryRun, limit } = this.draw;
      assert.ok(progress.redrivenCount >= this.#last.redrivenCount, 'a redrive counts backwards');
      assert.ok(limit === 0 || progress.redrivenCount <= limit, 'a redrive goes beyond its limit');
      if (!isDryRun) this.#last = progress;
    });
  }

  ended(error: SluiceError | undefined): void {
    this.#guard(() => {
      assert.ok(!this.hasEnded, 'a redrive ended twice');
      this.hasEnded = true;
      if (error !== undefined) {
        assert.ok(this.#mayBeEnded, `a redrive was ended: ${error.message}`);
        assert.match(error.reason, /^(REDRIVE_REPLACED|(TOPIC|SUBSCRIPTION)_(DELETED|NOT_FOUND))$/);
      } else if (this.draw.limit === 0 && !this.draw.isDryRun) this.#checkComplete();
    });
  }

  /** Everything that was there when it began has been sent back, or retention removed it. */
  #checkComplete(): void {
    const { reference } = this.#world;
    // It looks into the dead-letter topic that the subscription has when it begins to read.
    if (reference.subscriptions.get(this.subscriptionId)?.config !== this.#config) return;
    for (const deadLetter of this.#deadLetters) {
      const floor =
        reference.topics.get(deadLetter.topicId)?.floors[deadLetter.partition] ?? Number.POSITIVE_INFINITY;
      assert.ok(
        reference.isRedriven(deadLetter) || deadLetter.offset < floor,
        `${deadLetter.source} was not sent back by a whole redrive`,
      );
    }
  }

  /** Another redrive of the subscription was begun, or something was deleted, since this one began. */
  get #mayBeEnded(): boolean {
    const { reference, deletionCount, redrives } = this.#world;
    if (deletionCount > this.#deletionCount || !reference.subscriptions.has(this.subscriptionId)) return true;
    const later = redrives.slice(redrives.indexOf(this) + 1);
    return later.some(({ subscriptionId, draw }) => subscriptionId === this.subscriptionId && !draw.isDryRun);
  }

  /** Ignores what a broker still does after it has crashed. */
  #guard(check: () => void): void {
    if (this.#generation === this.#world.generation) this.#world.guard(check);
  }
}

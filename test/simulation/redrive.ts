import assert from 'node:assert/strict';
import type { SluiceError } from '../../src/base/errors.js';
import type { SubscriptionConfig } from '../../src/base/model.js';
import { deadLetterTopicName } from '../../src/broker/dead-letters.js';
import type { Broker, RedriveProgress, RedriveSession, RedriveSink } from '../../src/broker/types.js';
import type { Books } from './books.js';

export interface RedriveServices {
  readonly books: () => Books;
  readonly guard: (check: () => void) => void;
  /** Another redrive of the subscription was begun, or something was deleted, since this one began. */
  readonly mayBeEnded: (redrive: Redrive) => boolean;
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
  readonly #services: RedriveServices;
  readonly #config: SubscriptionConfig;
  readonly #letters: ReturnType<Books['deadLettersOf']>;
  #last: RedriveProgress = { redrivenCount: 0, remainingCount: 0 };

  constructor(subscriptionId: number, draw: RedriveDraw, services: RedriveServices) {
    this.subscriptionId = subscriptionId;
    this.draw = draw;
    this.#services = services;
    const books = services.books();
    this.#config = books.subscriptions.get(subscriptionId)!.config;
    const name = deadLetterTopicName(this.#config);
    const topic = [...books.topics.values()].find((each) => each.name === name);
    // What is not committed yet may be seen by the redrive or not.
    this.#letters =
      topic === undefined
        ? []
        : books
            .deadLettersOf(subscriptionId, topic.topicId)
            .filter(({ partition, offset }) => offset < topic.ends[partition]!);
  }

  start(broker: Broker): void {
    const { topic, name } = this.#services.books().subscriptions.get(this.subscriptionId)!.config;
    this.session = broker.redrive({ topic, subscription: name, ...this.draw }, this);
  }

  progress(progress: RedriveProgress): void {
    this.#services.guard(() => {
      const { isDryRun, limit } = this.draw;
      assert.ok(progress.redrivenCount >= this.#last.redrivenCount, 'a redrive counts backwards');
      assert.ok(limit === 0 || progress.redrivenCount <= limit, 'a redrive goes beyond its limit');
      if (!isDryRun) this.#last = progress;
    });
  }

  ended(error: SluiceError | undefined): void {
    this.#services.guard(() => {
      assert.ok(!this.hasEnded, 'a redrive ended twice');
      this.hasEnded = true;
      if (error !== undefined) {
        assert.ok(this.#services.mayBeEnded(this), `a redrive was ended: ${error.message}`);
        assert.match(error.reason, /^(REDRIVE_REPLACED|(TOPIC|SUBSCRIPTION)_(DELETED|NOT_FOUND))$/);
      } else if (this.draw.limit === 0 && !this.draw.isDryRun) this.#checkComplete();
    });
  }

  /** Everything that was there when it began has been sent back, or retention removed it. */
  #checkComplete(): void {
    const books = this.#services.books();
    // It looks into the dead-letter topic that the subscription has when it begins to read.
    if (books.subscriptions.get(this.subscriptionId)?.config !== this.#config) return;
    for (const letter of this.#letters) {
      const floor = books.topics.get(letter.topicId)?.floors[letter.partition] ?? Number.POSITIVE_INFINITY;
      assert.ok(
        books.isRedriven(letter) || letter.offset < floor,
        `${letter.source} was not sent back by a whole redrive`,
      );
    }
  }
}

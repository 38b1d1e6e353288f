import type { SubscriptionConfig, TopicConfig } from '../../src/base/model.js';
import type { Credit, Outcome } from '../../src/core/types.js';
import type { Chance } from './chance.js';
import type { RedriveDraw } from './redrive.js';

/** The settings, credits and outcomes of a run, as chance has them. */
export class Draws {
  readonly #chance: Chance;

  constructor(chance: Chance) {
    this.#chance = chance;
  }

  topicConfig(name: string): Omit<TopicConfig, 'createTimeMs'> {
    const isLimited = this.#chance.oneIn(3);
    const isKept = this.#chance.oneIn(2);
    return {
      name,
      partitionCount: 1 + this.#chance.below(2),
      retention: {
        maxAgeMs: isKept ? 0 : this.#chance.pick([0, 0, 2_000]),
        maxBytes: isKept ? 0 : this.#chance.pick([0, 0, 200]),
        untilAcknowledged: !isKept && this.#chance.oneIn(2),
        dropUnacknowledged: !isKept && this.#chance.oneIn(3),
      },
      backlogLimit: {
        maxBytes: isLimited ? this.#chance.pick([0, 1_000]) : 0,
        maxMessages: isLimited ? 20 : 0,
        whenFull: isLimited ? this.#chance.pick(['block', 'reject']) : 'block',
      },
      durability: this.#chance.pick(['written', 'synced', undefined]),
    };
  }

  subscriptionConfig(
    topic: string,
    name: string,
    hasMorgue: boolean,
  ): Omit<SubscriptionConfig, 'createTimeMs'> {
    const isShared = topic !== 'morgue' && hasMorgue;
    return {
      topic,
      name,
      ordering: this.#chance.pick(['partition', 'key', 'none']),
      ackDeadlineMs: this.#chance.pick([500, 1_000]),
      minBackoffMs: this.#chance.pick([8, 100]),
      maxBackoffMs: 400,
      deadLetter: {
        maxAttempts: this.#chance.pick([1, 2, 3, 5]),
        topic: isShared && this.#chance.oneIn(2) ? 'morgue' : '',
        isDisabled: this.#chance.oneIn(6),
      },
    };
  }

  redrive(): RedriveDraw {
    return {
      isDryRun: this.#chance.oneIn(4),
      limit: this.#chance.pick([0, 0, 1, 3]),
      ratePerSecond: this.#chance.pick([0, 0, 0, 20]),
    };
  }

  credit(): Credit {
    return {
      messages: this.#chance.pick([0, 1, 2, 5, 20, 20]),
      bytes: this.#chance.pick([0, 1, 100, 400, 10_000, 10_000]),
    };
  }

  outcome(): Outcome {
    const kind = this.#chance.below(20);
    if (kind < 9) return { kind: 'ack' };
    if (kind < 14) return { kind: 'nack' };
    if (kind < 16) return { kind: 'nack', delayMs: this.#chance.pick([0, 50, 700]) };
    if (kind < 19) return { kind: 'extend', byMs: this.#chance.pick([0, 300, 3_000]) };
    return { kind: 'deadLetter', reason: 'hopeless' };
  }
}

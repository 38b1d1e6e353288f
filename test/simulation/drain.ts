import assert from 'node:assert/strict';
import { MiB } from '../../src/base/units.js';
import type { Audit } from './audit.js';
import type { Consuming } from './consuming.js';
import type { Time } from './time.js';
import type { World } from './world.js';

/** More rounds than any backlog needs that can be settled at all. */
const mostRounds = 400;

const plentyOfCredit = { messages: 100, bytes: MiB };

/** The end of a run: consumers that acknowledge all they get leave nothing behind. */
export class Drain {
  readonly #world: World;
  readonly #audit: Audit;
  readonly #consuming: Consuming;
  readonly #time: Time;

  constructor(world: World, audit: Audit, consuming: Consuming, time: Time) {
    this.#world = world;
    this.#audit = audit;
    this.#consuming = consuming;
    this.#time = time;
  }

  async run(): Promise<void> {
    const { consumers, host, nowMs, subscriptionIds } = this.#world;
    this.#world.trace(`${nowMs} drain`);
    host.storage.setRoom(true);
    for (const consumer of consumers) {
      if (consumer.session !== undefined) this.#consuming.setCredit(consumer, plentyOfCredit);
    }
    for (const subscriptionId of subscriptionIds) {
      this.#consuming.openSession(plentyOfCredit, subscriptionId);
    }
    for (let round = 0; ; round += 1) {
      assert.ok(round < mostRounds, `nothing moves any more: ${this.#describeRest()}`);
      while (this.#isStorageHolding) {
        this.#answerOldest();
        await this.#audit.quiesce();
      }
      for (const consumer of this.#world.consumers) {
        this.#consuming.sendAll(consumer);
        this.#consuming.acknowledgeAll(consumer);
      }
      await this.#audit.quiesce();
      if (this.#isStorageHolding) continue;
      if (this.#isDrained()) break;
      this.#time.advance(200);
      await this.#audit.quiesce();
    }
    await this.#audit.checkLogs();
  }

  /** Commits before reads, lookups and removals. */
  #answerOldest(): void {
    const { storage } = this.#world.host;
    this.#world.seek?.beginStep();
    if (storage.heldRoundCount > 0) storage.answerRound();
    else storage.answerCall(0);
  }

  get #isStorageHolding(): boolean {
    const { heldCallCount, heldRoundCount } = this.#world.host.storage;
    return heldRoundCount + heldCallCount > 0;
  }

  #isDrained(): boolean {
    const { reference, orphans, pendingAnswers, producers, redrives } = this.#world;
    if (pendingAnswers.size > 0) return false;
    if (redrives.some(({ hasEnded }) => !hasEnded)) return false;
    if ([...producers, ...orphans].some(({ unansweredCount }) => unansweredCount > 0)) return false;
    return [...reference.subscriptions.values()].every(({ model }) =>
      model.all().every(({ state }) => state === 'settled'),
    );
  }

  #describeRest(): string {
    const { reference, pendingAnswers, producers } = this.#world;
    const rest = [...reference.subscriptions.values()].map(({ config, model }) => ({
      name: config.name,
      open: model
        .all()
        .filter(({ state }) => state !== 'settled')
        .slice(0, 3),
    }));
    return JSON.stringify({
      pending: [...pendingAnswers],
      producers: producers.map(({ id, topic, unansweredCount }) => [topic, id, unansweredCount]),
      rest,
    });
  }
}

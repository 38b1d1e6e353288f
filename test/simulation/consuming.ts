import assert from 'node:assert/strict';
import type { Credit, PartitionInterval, Settlement } from '../../src/core/types.js';
import { contextOf } from '../support/call-context.js';
import type { Reference } from '../unit/core/model/reference.js';
import { Consumer } from './consumer.js';
import type { World } from './world.js';

/** Opens and closes the sessions of consumers, lets their frames leave, and settles what they hold. */
export class Consuming {
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
  }

  openSession(
    credit = this.#world.draws.credit(),
    subscriptionId = this.#world.chance.pick(this.#world.subscriptionIds),
  ): void {
    if (subscriptionId === undefined) return;
    const { config } = this.#world.reference.subscriptions.get(subscriptionId)!;
    const consumer = new Consumer(`c${this.#world.nextNumber()}`, subscriptionId, credit, this.#world);
    this.#world.trace(
      `  ${consumer.name} of ${config.topic}/${config.name} with ${credit.messages}, ${credit.bytes} bytes`,
    );
    const { topic, name: subscription } = config;
    const options = {
      topic,
      subscription,
      consumerId: consumer.name,
      context: contextOf(consumer.name),
      credit,
    };
    const opening = this.#world.host.broker.subscribe({ ...options, start: { kind: 'earliest' } }, consumer);
    this.#world.consumers.push(consumer);
    this.#world.expect(`session ${consumer.name}`, opening, (session) => {
      consumer.session = session;
      this.#world.reference.subscriptions.get(subscriptionId)?.model.open(consumer.name, consumer.credit);
      session.start();
    });
  }

  closeSession(): void {
    const { chance, consumers, lostFrames, nowMs } = this.#world;
    const consumer = this.#world.anyConsumer();
    if (consumer === undefined) return;
    this.#world.trace(`  ${consumer.name}`);
    consumer.isClosed = true;
    consumers.splice(consumers.indexOf(consumer), 1);
    lostFrames.push(...consumer.frames);
    const end = chance.pick(['left', 'cancelled', 'broke'] as const);
    consumer.subscription.model.close(consumer.name, end, nowMs);
    consumer.session!.close(end);
  }

  /** For any consumer, at random. */
  changeCredit(): void {
    const consumer = this.#world.anyConsumer();
    const credit = this.#world.draws.credit();
    if (consumer !== undefined) this.setCredit(consumer, credit);
  }

  setCredit(consumer: Consumer, credit: Credit): void {
    consumer.credit = credit;
    consumer.subscription.model.setCredit(consumer.name, credit);
    this.#world.trace(`  ${consumer.name}: ${credit.messages}, ${credit.bytes} bytes`);
    const { broker } = this.#world.host;
    assert.deepEqual(broker.setCredit(consumer.session!.sessionId, credit), credit);
  }

  /** The next frame of a stream leaves. If no open stream has one, a frame of a stream that has ended leaves. */
  send(): void {
    const { chance, consumers, lostFrames } = this.#world;
    const consumer = chance.pick(consumers.filter(({ frames }) => frames.length > 0));
    if (consumer === undefined) lostFrames.shift()?.written();
    else this.#sendFrame(consumer);
  }

  sendAll(consumer: Consumer): void {
    while (consumer.frames.length > 0) this.#sendFrame(consumer);
  }

  #sendFrame(consumer: Consumer): void {
    const { deliveryId, written } = consumer.frames.shift()!;
    consumer.subscription.model.sent(deliveryId, this.#world.nowMs);
    written();
  }

  /** Settles ranges, at random: mostly around what the consumer holds, sometimes around any other message. */
  settle(): void {
    const { chance, draws } = this.#world;
    const consumer = this.#world.anyConsumer();
    if (consumer === undefined) return;
    const { model } = consumer.subscription;
    const settlements: Settlement[] = [];
    for (let i = chance.below(3); i >= 0; i -= 1) {
      const own = chance.oneIn(6) ? undefined : chance.pick(model.heldBy(consumer.name));
      const target = own ?? chance.pick(model.all());
      if (target === undefined) return;
      const first = Math.max(0, target.offset - chance.pick([0, 0, 0, 1, 5, 1_000]));
      const last = target.offset + chance.pick([0, 0, 0, 1, 4, 1_000]);
      settlements.push({ partition: target.partition, first, last, outcome: draws.outcome() });
    }
    this.#settle(consumer, settlements);
  }

  acknowledgeAll(consumer: Consumer): void {
    const settlements = consumer.subscription.model.heldBy(consumer.name).map(
      ({ partition, offset }): Settlement => ({
        partition,
        first: offset,
        last: offset,
        outcome: { kind: 'ack' },
      }),
    );
    if (settlements.length > 0) this.#settle(consumer, settlements);
  }

  #settle(consumer: Consumer, settlements: readonly Settlement[]): void {
    const { host, nowMs } = this.#world;
    this.#world.trace(`  ${consumer.name}: ${JSON.stringify(settlements)}`);
    const { model } = consumer.subscription;
    const { seekCount } = model;
    const isRepeated = cumulativelyAcknowledged(model, settlements);
    const expected = model.settle(consumer.name, settlements, nowMs);
    consumer.settling(settlements);
    const settling = host.broker.settle(consumer.session!.sessionId, settlements);
    this.#world.expectCommitted(`settlement of ${consumer.name}`, settling, (result) => {
      if (result.stale.length > 0) this.#world.count('staleSettlement');
      // The notes of dead letters are deleted with their subscription: what contradicts them is not known any more.
      const isDeleted = !this.#world.reference.subscriptions.has(consumer.subscriptionId);
      const what = `settlement of ${consumer.name}`;
      assert.equal(result.settledCount, expected.settledCount, what);
      if (isDeleted) return;
      const stale = offsetsOf(result.stale);
      const all = offsetsOf(expected.stale);
      assert.deepEqual(
        stale.filter((offset) => !all.includes(offset)),
        [],
        what,
      );
      // A seek removes notes, and with them what they would have said.
      if (model.seekCount !== seekCount) return;
      assert.deepEqual(
        all.filter((offset) => !stale.includes(offset) && !isRepeated(offset)),
        [],
        what,
      );
    });
  }
}

/** As `partition/offset`. */
function offsetsOf(intervals: readonly PartitionInterval[]): string[] {
  return intervals.flatMap(({ partition, first, last }) =>
    Array.from({ length: last - first + 1 }, (_, i) => `${partition}/${first + i}`),
  );
}

/**
 * The dead letters that cumulative acknowledgements name: they contradict each of them once, and cumulative-acks.test.ts
 * says when.
 */
function cumulativelyAcknowledged(
  model: Reference,
  settlements: readonly Settlement[],
): (offset: string) => boolean {
  const repeated = new Set<string>();
  for (const { partition, first, last, outcome } of settlements) {
    if (first !== 0 || outcome.kind !== 'ack') continue;
    for (const { offset, state, hasNote } of model.partitions[partition]!) {
      if (offset <= last && state === 'settled' && hasNote) repeated.add(`${partition}/${offset}`);
    }
  }
  return (offset) => repeated.has(offset);
}

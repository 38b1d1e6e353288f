import assert from 'node:assert/strict';
import type { SluiceError } from '../../src/base/errors.js';
import { limits } from '../../src/base/limits.js';
import type { ConsumerSession, ConsumerSink, DeliveredRun } from '../../src/broker/types.js';
import type { Credit, PartitionInterval, Settlement } from '../../src/core/types.js';
import { entryOf } from './held-storage.js';
import type { ReferenceModel, ReferenceSubscription } from './reference-model.js';

export interface Frame {
  readonly deliveryId: number;
  readonly written: () => void;
}

/** The part of a run that a consumer uses. */
export interface ConsumerWorld {
  readonly reference: ReferenceModel;
  readonly generation: number;
  readonly nowMs: number;
  nextDeliveryId(): number;
  trace(text: string): void;
  count(event: 'delivery' | 'redelivery'): void;
  guard(check: () => void): void;
}

/** One consumer's stream: checks what it gets against the reference model, and lets bytes leave when the run says so. */
export class Consumer implements ConsumerSink {
  readonly name: string;
  readonly subscriptionId: number;
  readonly frames: Frame[] = [];
  session: ConsumerSession | undefined;
  credit: Credit;
  isClosed = false;
  /** What it holds by all that it was told on its stream, and has settled itself: `partition/offset`. */
  readonly held = new Set<string>();
  #partitions: readonly number[] = [];
  readonly #world: ConsumerWorld;
  readonly #generation: number;

  constructor(name: string, subscriptionId: number, credit: Credit, world: ConsumerWorld) {
    this.name = name;
    this.subscriptionId = subscriptionId;
    this.credit = credit;
    this.#world = world;
    this.#generation = world.generation;
  }

  get subscription(): ReferenceSubscription {
    return this.#world.reference.subscriptions.get(this.subscriptionId)!;
  }

  deliver(runs: readonly DeliveredRun[], written: () => void): void {
    this.#guard(() => this.#deliver(runs, written));
  }

  #deliver(runs: readonly DeliveredRun[], written: () => void): void {
    assert.ok(!this.isClosed, `${this.name} has closed, and gets more`);
    const deliveryId = this.#world.nextDeliveryId();
    this.frames.push({ deliveryId, written });
    assert.ok(this.frames.length <= limits.framesUnderWay, `${this.name} has too many frames under way`);
    for (const { run, from, to, attempt } of runs) {
      assert.ok(from < to, 'an empty run is delivered');
      for (let i = from; i < to; i += 1) this.#take(run, i, attempt, deliveryId);
    }
  }

  assigned(partitions: readonly number[]): void {
    this.#partitions = partitions;
  }

  revoked(offsets: readonly PartitionInterval[]): void {
    for (const { partition, first, last } of offsets) {
      for (let offset = first; offset <= last; offset += 1) this.held.delete(`${partition}/${offset}`);
    }
  }

  /** What is neither nacked nor acknowledged stays. */
  settling(settlements: readonly Settlement[]): void {
    for (const { partition, first, last, outcome } of settlements) {
      if (outcome.kind === 'extend') continue;
      for (const place of this.held) {
        const [itsPartition, offset] = place.split('/').map(Number) as [number, number];
        if (itsPartition === partition && offset >= first && offset <= last) this.held.delete(place);
      }
    }
  }

  heartbeat(_timeMs: number, backlogMessageCount: number): void {
    const open = this.subscription.model.all().filter(({ state }) => state !== 'settled').length;
    this.#guard(() => assert.equal(backlogMessageCount, open, `${this.name} hears of another backlog`));
  }

  ended(error: SluiceError): void {
    this.#guard(() =>
      assert.match(
        error.reason,
        /^(SUBSCRIPTION|TOPIC)_DELETED$/,
        `${this.name} was ended: ${error.message}`,
      ),
    );
    this.isClosed = true;
  }

  hasCredit(): boolean {
    const held = this.subscription.model.heldBy(this.name);
    if (held.some(({ isSuspect }) => isSuspect)) return false;
    const bytes = held.reduce((sum, message) => sum + message.bytes, 0);
    return held.length < this.credit.messages && bytes < this.credit.bytes;
  }

  #take(run: DeliveredRun['run'], index: number, attempt: number, deliveryId: number): void {
    const { model, config, topicId } = this.subscription;
    const { partition } = run;
    const offset = run.firstOffset + index;
    const name = `${partition}/${offset} of ${config.name} to ${this.name}`;
    this.#world.trace(`  ${name}, attempt ${attempt}`);
    const message = model.partitions[partition]![offset];
    assert.ok(message !== undefined, `${name} was delivered before it was committed`);
    assert.ok(
      entryOf(run, index).equals(this.#world.reference.topics.get(topicId)!.entries[partition]![offset]!),
      `${name} has changed`,
    );
    const objection = model.objection(message, this.name, this.#world.nowMs);
    assert.equal(objection, undefined, `${name} was delivered although ${objection}`);
    assert.equal(attempt, message.attempts + 1, `${name}: wrong attempt`);
    const place = `${partition}/${offset}`;
    assert.ok(!this.held.has(place), `${name} comes again, and was not said to be taken back`);
    this.held.add(place);
    assert.ok(this.hasCredit(), `${name} was delivered without credit`);
    if (config.ordering === 'partition') {
      assert.ok(
        this.#partitions.includes(partition),
        `${name} was delivered, but the partition is not its own`,
      );
    }
    this.#world.count(attempt === 1 ? 'delivery' : 'redelivery');
    model.lease(message, this.name, deliveryId, this.#world.nowMs);
  }

  /** Ignores what a broker still does after it has crashed. */
  #guard(check: () => void): void {
    if (this.#generation === this.#world.generation) this.#world.guard(check);
  }
}

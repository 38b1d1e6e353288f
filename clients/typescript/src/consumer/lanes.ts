import { Fifo } from '../fifo.js';
import { Ordering } from '../gen/sluice/v1/admin_pb.js';
import type { HeldMessage } from './held-message.js';
import { Lane } from './lane.js';
import { isIn, type Range } from './response.js';

/**
 * Messages that were delivered and not handed out, in the order of the subscription. Lanes outlive sessions: while a
 * handler processes a message of an earlier session, the client hands out no other message of its lane.
 */
export class Lanes {
  readonly #lanes = new Map<string, Lane<HeldMessage>>();
  readonly #free = new Lane<HeldMessage>(undefined);
  /** Lanes with a message that may be handed out now, each once, in the order of their turns. */
  readonly #ready = new Fifo<Lane<HeldMessage>>();

  /** Messages of one run, in order. */
  add(messages: readonly HeldMessage[], ordering: Ordering): void {
    for (const message of messages) {
      const lane = this.#laneOf(message, ordering);
      message.lane = lane;
      lane.queue.push(message);
      this.#list(lane);
    }
  }

  /**
   * The next message that may be handled. With `isExclusive`, its lane is busy until it is `done`; otherwise the caller
   * is responsible for the order.
   */
  take(isExclusive: boolean): HeldMessage | undefined {
    for (let lane = this.#ready.shift(); lane !== undefined; lane = this.#ready.shift()) {
      lane.isListed = false;
      if (lane.isBusy || lane.unansweredNacks > 0) continue;
      const message = lane.queue.shift();
      if (message === undefined) continue;
      if (isExclusive && lane.isOrdered) lane.isBusy = true;
      else if (lane.queue.length > 0) this.#list(lane);
      else this.#forget(lane);
      return message;
    }
    return undefined;
  }

  /** The handler of the message that was taken from the lane has ended. */
  done(lane: Lane<HeldMessage>): void {
    if (!lane.isOrdered) return;
    lane.isBusy = false;
    this.#list(lane);
    this.#forget(lane);
  }

  /** Hands out no message of the lane until the broker has answered a nack. */
  hold(lane: Lane<HeldMessage>): void {
    const { name } = lane;
    if (name !== undefined) this.#laneNamed(name).unansweredNacks++;
  }

  release(lane: Lane<HeldMessage>): void {
    // The lane of an iterated message may have been removed and created again.
    const current = lane.name === undefined ? undefined : this.#lanes.get(lane.name);
    if (current === undefined || current.unansweredNacks === 0) return;
    current.unansweredNacks--;
    this.#list(current);
    this.#forget(current);
  }

  /** Drops the messages that the broker has taken back. */
  revoke(ranges: readonly Range[]): void {
    this.#drop(({ partition, offsetNumber }) => isIn(ranges, partition, offsetNumber));
  }

  /** The session has ended: drops all its messages and pending nacks. */
  reset(): void {
    for (const lane of this.#lanes.values()) lane.unansweredNacks = 0;
    this.#drop(() => true);
  }

  /** The number of messages that have not been handed out. */
  get count(): number {
    let count = 0;
    for (const lane of this.#all()) count += lane.queue.length;
    return count;
  }

  /** The messages that have not been handed out. */
  *[Symbol.iterator](): Generator<HeldMessage> {
    for (const lane of this.#all()) yield* lane.queue;
  }

  *#all(): Generator<Lane<HeldMessage>> {
    yield this.#free;
    yield* this.#lanes.values();
  }

  #drop(isUnwanted: (message: HeldMessage) => boolean): void {
    for (const lane of this.#all()) {
      for (const message of lane.queue.removeWhere(isUnwanted)) message.lose();
      this.#forget(lane);
    }
  }

  #laneOf(message: HeldMessage, ordering: Ordering): Lane<HeldMessage> {
    if (ordering === Ordering.NONE) return this.#free;
    let name = String(message.partition);
    if (ordering === Ordering.KEY) {
      const { key } = message;
      if (key.length === 0) return this.#free;
      name += `/${key.toString('latin1')}`;
    }
    return this.#laneNamed(name);
  }

  #laneNamed(name: string): Lane<HeldMessage> {
    let lane = this.#lanes.get(name);
    if (lane === undefined) {
      lane = new Lane(name);
      this.#lanes.set(name, lane);
    }
    return lane;
  }

  #list(lane: Lane<HeldMessage>): void {
    if (lane.isListed || lane.isBusy || lane.unansweredNacks > 0 || lane.queue.length === 0) return;
    lane.isListed = true;
    this.#ready.push(lane);
  }

  /** There can be millions of keys, so a lane exists only while it has state. */
  #forget(lane: Lane<HeldMessage>): void {
    if (lane.name === undefined || lane.isBusy || lane.unansweredNacks > 0 || lane.queue.length > 0) return;
    this.#lanes.delete(lane.name);
  }
}

import type { SluiceError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import type { SubscriptionConfig } from '../../base/model.js';
import type { DeadLetterRequest } from '../../core/types.js';
import type { Append, Change } from '../../storage/types.js';
import type { Topic } from '../topics/topic.js';
import type { DeadLetterBuilder } from './dead-letter-builder.js';

/** Requests of one call, and the callback for when the last of them has ended. */
interface RequestGroup {
  remainingCount: number;
  failure: unknown;
  readonly done: (failure: unknown) => void;
}

interface Waiting {
  readonly request: DeadLetterRequest;
  readonly group: RequestGroup;
}

export interface RefusedDeadLetter {
  readonly request: DeadLetterRequest;
  readonly error: SluiceError;
  /** Retention has removed the message: nothing is left to settle. */
  readonly isRemoved: boolean;
}

/** Requests that are answered together: what to append and to settle, and which of them failed. */
export class DeadLetterBatch {
  readonly accepted: readonly DeadLetterRequest[];
  /** These messages could not be dead-lettered: they are pending again. */
  readonly refused: readonly RefusedDeadLetter[];
  /** The appends and notes. They belong into one commit with the cursors that settle the messages. */
  readonly changes: readonly Change[];
  readonly #acceptedGroups: readonly RequestGroup[];
  readonly #refusedGroups: readonly RequestGroup[];

  constructor(
    topic: Topic,
    subscriptionId: number,
    taken: readonly Waiting[],
    deadLetters: readonly (Append | SluiceError)[],
  ) {
    const accepted: DeadLetterRequest[] = [];
    const refused: RefusedDeadLetter[] = [];
    const appends: Append[] = [];
    const acceptedGroups: RequestGroup[] = [];
    const refusedGroups: RequestGroup[] = [];
    for (const [i, { request, group }] of taken.entries()) {
      const deadLetter = deadLetters[i]!;
      if (deadLetter instanceof Error) {
        // With hard limits, retention also removes messages that are not settled. The store does not know a deleted topic.
        const isRemoved = topic.isDeleted || request.offset < topic.firstOffset(request.partition);
        refused.push({ request, error: deadLetter, isRemoved });
        refusedGroups.push(group);
      } else {
        accepted.push(request);
        acceptedGroups.push(group);
        appends.push(deadLetter);
      }
    }
    this.accepted = accepted;
    this.refused = refused;
    this.#acceptedGroups = acceptedGroups;
    this.#refusedGroups = refusedGroups;
    const notes = accepted.map(({ partition, offset, attempts }): Change => {
      return { kind: 'dead-letter', subscriptionId, partition, offset, attempts };
    });
    this.changes = [...joined(appends), ...notes];
  }

  /** The partitions of the accepted messages. */
  get partitions(): readonly number[] {
    return [...new Set(this.accepted.map(({ partition }) => partition))];
  }

  /** Answers the requests that were refused: the subscription state knows that their messages are pending again. */
  answerRefused(): void {
    for (const [i, { error, isRemoved }] of this.refused.entries()) {
      answer(this.#refusedGroups[i]!, isRemoved ? undefined : error);
    }
  }

  /** Answers the requests that were accepted: their commit is durable, or it failed. */
  answerAccepted(failure: unknown): void {
    for (const group of this.#acceptedGroups) answer(group, failure);
  }
}

/**
 * The messages of a subscription that wait for their way to the dead-letter topic. They become batches, in the
 * order of the requests, because a redrive sends the dead letters back in that order. Requests share batches,
 * because each commit writes the whole cursor.
 */
export class DeadLettering {
  readonly #builder: DeadLetterBuilder;
  readonly #topic: Topic;
  readonly #subscriptionId: number;
  #waiting: Waiting[] = [];

  constructor(builder: DeadLetterBuilder, topic: Topic, subscriptionId: number) {
    this.#builder = builder;
    this.#topic = topic;
    this.#subscriptionId = subscriptionId;
  }

  get hasWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  /** Resolves when all of them are durable. Rejects if a message could not be read, or if the write failed. */
  add(requests: readonly DeadLetterRequest[]): Promise<void> {
    return new Promise((resolve, reject) => {
      const done = (failure: unknown) => (failure === undefined ? resolve() : reject(failure));
      const group: RequestGroup = { remainingCount: requests.length, failure: undefined, done };
      for (const request of requests) this.#waiting.push({ request, group });
    });
  }

  /** Reads the messages of the first requests, for `takeBatch`. One call at a time. */
  read(config: SubscriptionConfig): Promise<readonly (Uint8Array | SluiceError)[]> {
    const requests = this.#waiting.slice(0, limits.deadLetterBatchMessages).map(({ request }) => request);
    return this.#builder.read(this.#topic, this.#subscriptionId, config, requests);
  }

  /**
   * Takes the requests whose messages were read. The caller submits the batch before the event loop continues: the
   * topics may have changed during the read, and may change again.
   */
  takeBatch(config: SubscriptionConfig, read: readonly (Uint8Array | SluiceError)[]): DeadLetterBatch {
    const taken = this.#waiting.slice(0, read.length);
    this.#waiting = this.#waiting.slice(read.length);
    const encoded = read.filter((each): each is Uint8Array => !(each instanceof Error));
    const appends = this.#builder.address(config, encoded);
    let index = 0;
    const deadLetters = read.map((each) => {
      if (each instanceof Error) return each;
      return Array.isArray(appends) ? appends[index++]! : appends;
    });
    return new DeadLetterBatch(this.#topic, this.#subscriptionId, taken, deadLetters);
  }

  /** Answers all requests: the subscription has ended, and nothing is stored. */
  drop(): void {
    const dropped = this.#waiting;
    this.#waiting = [];
    for (const { group } of dropped) answer(group, undefined);
  }
}

function answer(group: RequestGroup, failure: unknown): void {
  group.failure ??= failure;
  group.remainingCount--;
  if (group.remainingCount === 0) group.done(group.failure);
}

/** One append for each partition, in the order of the dead letters. */
function joined(appends: readonly Append[]): Append[] {
  const parts = new Map<string, Append[]>();
  for (const append of appends) {
    const place = `${append.topicId}/${append.partition}`;
    const part = parts.get(place);
    if (part === undefined) parts.set(place, [append]);
    else part.push(append);
  }
  return Array.from(parts.values(), (part) => ({
    ...part[0]!,
    chunks: part.flatMap(({ chunks }) => chunks),
    count: part.reduce((count, append) => count + append.count, 0),
    byteLength: part.reduce((bytes, append) => bytes + append.byteLength, 0),
  }));
}

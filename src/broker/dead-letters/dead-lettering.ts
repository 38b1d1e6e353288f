import type { SluiceError } from '../../base/errors.js';
import { endOnDefect } from '../../base/invariant.js';
import { limits } from '../../base/limits.js';
import type { Logger } from '../../base/logger.js';
import type { SubscriptionConfig } from '../../base/model.js';
import type { DeadLetterRequest } from '../../core/types.js';
import type { Append, CursorUpdate, Storage } from '../../storage/types.js';
import { commit } from '../committer.js';
import type { Topic } from '../topics/topic.js';
import type { DeadLetterBuilder } from './dead-letter-builder.js';

export interface DeadLetteringServices {
  readonly storage: Storage;
  readonly logger: Logger;
  readonly builder: DeadLetterBuilder;
  readonly topic: Topic;
  readonly subscriptionId: number;
  readonly config: () => SubscriptionConfig;
  readonly isOver: () => boolean;
  /** The commit that is about to be submitted settles the message. */
  readonly deadLettered: (request: DeadLetterRequest) => void;
  /** The message could not be dead-lettered: it is pending again. */
  readonly deadLetterFailed: (request: DeadLetterRequest) => void;
  readonly cursorUpdates: (partitions: readonly number[]) => CursorUpdate[];
  /** The subscription state has changed: its effects must be carried out. */
  readonly changed: () => void;
}

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

/**
 * Moves messages of a subscription to its dead-letter topic. The append and the cursor that settles the message
 * are one commit. The dead letters keep the order of the requests, because a redrive sends them back in that
 * order. Requests share commits, because each commit writes the whole cursor.
 */
export class DeadLettering {
  readonly #services: DeadLetteringServices;
  #waiting: Waiting[] = [];
  #isBusy = false;

  constructor(services: DeadLetteringServices) {
    this.#services = services;
  }

  /** Resolves when all of them are durable. Rejects if a message could not be read, or if the write failed. */
  deadLetter(requests: readonly DeadLetterRequest[]): Promise<void> {
    return new Promise((resolve, reject) => {
      const done = (failure: unknown) => (failure === undefined ? resolve() : reject(failure));
      const group: RequestGroup = { remainingCount: requests.length, failure: undefined, done };
      for (const request of requests) this.#waiting.push({ request, group });
      if (!this.#isBusy) void this.#run();
    });
  }

  async #run(): Promise<void> {
    this.#isBusy = true;
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.slice(0, limits.deadLetterBatchMessages);
      const deadLetters = await this.#services.builder.prepare(
        this.#services.topic,
        this.#services.subscriptionId,
        this.#services.config(),
        batch.map(({ request }) => request),
      );
      const taken = this.#waiting.slice(0, deadLetters.length);
      this.#waiting = this.#waiting.slice(deadLetters.length);
      await this.#submit(taken, deadLetters);
    }
    this.#isBusy = false;
  }

  async #submit(taken: readonly Waiting[], deadLetters: readonly (Append | SluiceError)[]): Promise<void> {
    const { storage, subscriptionId, isOver, deadLettered, cursorUpdates, changed } = this.#services;
    if (isOver()) {
      for (const each of taken) settle(each, undefined);
      return;
    }
    const accepted: Waiting[] = [];
    const appends: Append[] = [];
    for (const [i, each] of taken.entries()) {
      const deadLetter = deadLetters[i]!;
      if (deadLetter instanceof Error) {
        const isRemoved = this.#refused(each.request, deadLetter);
        settle(each, isRemoved ? undefined : deadLetter);
        continue;
      }
      deadLettered(each.request);
      accepted.push(each);
      appends.push(deadLetter);
    }
    const durable = commit(storage, {
      durability: 'synced',
      changes: [
        ...joined(appends),
        ...cursorUpdates([...new Set(accepted.map(({ request }) => request.partition))]),
        ...accepted.map(({ request: { partition, offset, attempts } }) => ({
          kind: 'dead-letter' as const,
          subscriptionId,
          partition,
          offset,
          attempts,
        })),
      ],
    });
    changed();
    let failure: unknown;
    try {
      await durable;
    } catch (error) {
      endOnDefect(error);
      failure = error;
    }
    for (const each of accepted) settle(each, failure);
  }

  /** Returns whether retention has removed the message: then there is nothing left to settle. */
  #refused(request: DeadLetterRequest, error: SluiceError): boolean {
    const { logger, topic, config, deadLetterFailed } = this.#services;
    const { partition, offset } = request;
    const context = { error, topic: topic.name, subscription: config().name, partition, offset };
    // With hard limits, retention also removes messages that are not settled.
    const isRemoved = offset < topic.firstOffset(partition);
    if (isRemoved) logger.warn(context, 'retention removed a message before it was dead-lettered');
    else logger.error(context, 'a message could not be dead-lettered: it is delivered again');
    deadLetterFailed(request);
    return isRemoved;
  }
}

function settle({ group }: Waiting, failure: unknown): void {
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

import type { SluiceError } from '../base/errors.js';
import { endOnDefect } from '../base/invariant.js';
import { limits } from '../base/limits.js';
import type { Logger } from '../base/logger.js';
import type { SubscriptionConfig } from '../base/model.js';
import type { Burial } from '../core/types.js';
import type { Append, CursorUpdate, Storage } from '../storage/types.js';
import { commit } from './committer.js';
import type { DeadLetters } from './dead-letters.js';
import type { Topic } from './topic.js';

export interface BurialServices {
  readonly storage: Storage;
  readonly logger: Logger;
  readonly deadLetters: DeadLetters;
  readonly topic: Topic;
  readonly subscriptionId: number;
  readonly config: () => SubscriptionConfig;
  readonly isOver: () => boolean;
  /** The message is settled by the commit that is about to be submitted. */
  readonly buried: (burial: Burial) => void;
  /** It could not be buried: it is pending again. */
  readonly unburied: (burial: Burial) => void;
  readonly cursorUpdates: (partitions: readonly number[]) => CursorUpdate[];
  /** The rules have changed. */
  readonly changed: () => void;
}

/** Burials that were asked for together, and whoever waits for all of them. */
interface Funeral {
  left: number;
  failure: unknown;
  readonly done: (failure: unknown) => void;
}

interface Waiting {
  readonly burial: Burial;
  readonly funeral: Funeral;
}

/**
 * Moves the messages that a subscription gives up to its dead-letter topic: the append and the cursor that gives them
 * up are one commit. They stand there in the order in which they were given up, because so they come back when
 * redriven. Many at once share their commits, since each of those writes the cursor with all that is still waiting.
 */
export class Burials {
  readonly #services: BurialServices;
  #waiting: Waiting[] = [];
  #isBusy = false;

  constructor(services: BurialServices) {
    this.#services = services;
  }

  /** Resolves when all of them are durable; rejects when one could not be read, or nothing was written. */
  bury(burials: readonly Burial[]): Promise<void> {
    return new Promise((resolve, reject) => {
      const done = (failure: unknown) => (failure === undefined ? resolve() : reject(failure));
      const funeral: Funeral = { left: burials.length, failure: undefined, done };
      for (const burial of burials) this.#waiting.push({ burial, funeral });
      if (!this.#isBusy) void this.#run();
    });
  }

  async #run(): Promise<void> {
    this.#isBusy = true;
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.slice(0, limits.burialBatchMessages);
      const letters = await this.#services.deadLetters.prepare(
        this.#services.topic,
        this.#services.subscriptionId,
        this.#services.config(),
        batch.map(({ burial }) => burial),
      );
      const taken = this.#waiting.slice(0, letters.length);
      this.#waiting = this.#waiting.slice(letters.length);
      await this.#submit(taken, letters);
    }
    this.#isBusy = false;
  }

  async #submit(taken: readonly Waiting[], letters: readonly (Append | SluiceError)[]): Promise<void> {
    const { storage, subscriptionId, isOver, buried, cursorUpdates, changed } = this.#services;
    if (isOver()) {
      for (const each of taken) settle(each, undefined);
      return;
    }
    const accepted: Waiting[] = [];
    const appends: Append[] = [];
    for (const [i, each] of taken.entries()) {
      const letter = letters[i]!;
      if (letter instanceof Error) {
        const isRemoved = this.#refused(each.burial, letter);
        settle(each, isRemoved ? undefined : letter);
        continue;
      }
      buried(each.burial);
      accepted.push(each);
      appends.push(letter);
    }
    const durable = commit(storage, {
      durability: 'synced',
      appends: joined(appends),
      cursors: cursorUpdates([...new Set(accepted.map(({ burial }) => burial.partition))]),
      deadLetters: accepted.map(({ burial: { partition, offset, attempts } }) => ({
        subscriptionId,
        partition,
        offset,
        attempts,
      })),
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

  /** Says whether the message is gone: then there is nothing left to settle. */
  #refused(burial: Burial, error: SluiceError): boolean {
    const { logger, topic, config, unburied } = this.#services;
    const { partition, offset } = burial;
    const context = { error, topic: topic.name, subscription: config().name, partition, offset };
    // Where limits are hard, retention removes what is not settled, on its way to the dead letters or not.
    const isRemoved = offset < topic.firstOffset(partition);
    if (isRemoved) logger.warn(context, 'retention removed a message before it was dead-lettered');
    else logger.error(context, 'a message could not be dead-lettered: it is delivered again');
    unburied(burial);
    return isRemoved;
  }
}

function settle({ funeral }: Waiting, failure: unknown): void {
  funeral.failure ??= failure;
  funeral.left--;
  if (funeral.left === 0) funeral.done(funeral.failure);
}

/** One append for each partition, in the order of the letters. */
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

import type { Clock } from '../../base/clock.js';
import { SluiceError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import type { SubscriptionConfig } from '../../base/model.js';
import { partitionOfKey } from '../../core/routing.js';
import type { DeadLetterRequest } from '../../core/types.js';
import { appendOrigin, deadLetterHeaders } from '../../envelope/dead-letter-origin.js';
import { messageEntry, messageKeyRange } from '../../envelope/message-bytes.js';
import type { Append, LogReader, Storage } from '../../storage/types.js';
import { readMessageBy } from '../reading/read-message.js';
import type { Topic } from '../topics/topic.js';
import { checkNoDeadLetterCycle, type DeadLetterRoutes } from './dead-letter-cycles.js';
import { deadLetterTopicName, findDeadLetterTopic } from './dead-letter-topic.js';

export interface DeadLetterBuilderServices {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly topics: DeadLetterTopics;
  readonly routes: DeadLetterRoutes;
}

/** The topics that dead letters go to. */
export interface DeadLetterTopics {
  find(name: string): Topic | undefined;
  /** The topic of this name. Creates it if it does not exist, even if topics are not auto-created. */
  getOrCreate(name: string): Topic;
}

/** Builds dead letters: the messages as they go to the dead-letter topic. */
export class DeadLetterBuilder {
  readonly #services: DeadLetterBuilderServices;

  constructor(services: DeadLetterBuilderServices) {
    this.#services = services;
  }

  /**
   * Reads messages and answers, for each, its encoded dead letter or the error. Answers at least one message, and no
   * more than fit into a commit: the caller calls again with the rest.
   */
  async read(
    topic: Topic,
    subscriptionId: number,
    config: SubscriptionConfig,
    requests: readonly DeadLetterRequest[],
  ): Promise<(Uint8Array | SluiceError)[]> {
    const deadLetters: (Uint8Array | SluiceError)[] = [];
    // Neighbouring messages are often in the same record, which the same reader still has.
    const readers = new Map<number, LogReader>();
    let byteLength = 0;
    for (const request of requests) {
      if (byteLength >= limits.roundBytes) break;
      try {
        const deadLetter = await this.#readOne(topic, subscriptionId, config, request, readers);
        byteLength += deadLetter.byteLength;
        deadLetters.push(deadLetter);
      } catch (error) {
        deadLetters.push(SluiceError.from(error));
      }
    }
    for (const reader of readers.values()) reader.close();
    return deadLetters;
  }

  /**
   * The appends of dead letters to the topic that the subscription names now. They are valid until the event loop
   * continues: then the topic may be deleted. An error stands for all of them.
   */
  address(config: SubscriptionConfig, deadLetters: readonly Uint8Array[]): Append[] | SluiceError {
    const { topics, routes } = this.#services;
    if (deadLetters.length === 0) return [];
    try {
      // An old store may contain such a subscription: the message stays where it is.
      checkNoDeadLetterCycle(config, routes);
      const target = findDeadLetterTopic(topics, config) ?? topics.getOrCreate(deadLetterTopicName(config));
      return deadLetters.map((deadLetter) => appendTo(target, deadLetter));
    } catch (error) {
      return SluiceError.from(error);
    }
  }

  async #readOne(
    topic: Topic,
    subscriptionId: number,
    config: SubscriptionConfig,
    request: DeadLetterRequest,
    readers: Map<number, LogReader>,
  ): Promise<Uint8Array> {
    const { storage, clock } = this.#services;
    let reader = readers.get(request.partition);
    if (reader === undefined) {
      reader = storage.openReader(topic.topicId, request.partition);
      readers.set(request.partition, reader);
    }
    const { run, from } = await readMessageBy(reader, storage, topic, request.partition, request.offset);
    return appendOrigin(messageEntry(run, from), subscriptionId, {
      [deadLetterHeaders.topic]: topic.name,
      [deadLetterHeaders.partition]: String(request.partition),
      [deadLetterHeaders.offset]: String(request.offset),
      [deadLetterHeaders.subscription]: config.name,
      [deadLetterHeaders.attempts]: String(request.attempts),
      [deadLetterHeaders.reason]: request.reason,
      [deadLetterHeaders.time]: new Date(clock.wallMs()).toISOString(),
    });
  }
}

function appendTo({ topicId, config: { partitionCount } }: Topic, deadLetter: Uint8Array): Append {
  const key = messageKeyRange(deadLetter);
  return {
    kind: 'append',
    topicId,
    partition: partitionOfKey(deadLetter, key.from, key.to, partitionCount),
    producerId: '',
    chunks: [deadLetter],
    count: 1,
    byteLength: deadLetter.byteLength,
  };
}

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
   * Reads messages and answers, for each, its dead letter or the error. Stores nothing. Answers at least one
   * message, and no more than fit into a commit: the caller calls again with the rest.
   */
  async prepare(
    topic: Topic,
    subscriptionId: number,
    config: SubscriptionConfig,
    requests: readonly DeadLetterRequest[],
  ): Promise<(Append | SluiceError)[]> {
    try {
      checkNoDeadLetterCycle(config, this.#services.routes);
    } catch (error) {
      // An old store may contain such a subscription: the message stays where it is.
      return requests.map(() => SluiceError.from(error));
    }
    const deadLetters: (Append | SluiceError)[] = [];
    // Neighbouring messages are often in the same record, which the same reader still has.
    const readers = new Map<number, LogReader>();
    let byteLength = 0;
    for (const request of requests) {
      if (byteLength >= limits.roundBytes) break;
      try {
        const deadLetter = await this.#build(topic, subscriptionId, config, request, readers);
        byteLength += deadLetter.byteLength;
        deadLetters.push(deadLetter);
      } catch (error) {
        deadLetters.push(SluiceError.from(error));
      }
    }
    for (const reader of readers.values()) reader.close();
    return deadLetters;
  }

  async #build(
    topic: Topic,
    subscriptionId: number,
    config: SubscriptionConfig,
    request: DeadLetterRequest,
    readers: Map<number, LogReader>,
  ): Promise<Append> {
    const { storage, clock, topics } = this.#services;
    let reader = readers.get(request.partition);
    if (reader === undefined) {
      reader = storage.openReader(topic.topicId, request.partition);
      readers.set(request.partition, reader);
    }
    const { run, from } = await readMessageBy(reader, storage, topic, request.partition, request.offset);
    const chunk = appendOrigin(messageEntry(run, from), subscriptionId, {
      [deadLetterHeaders.topic]: topic.name,
      [deadLetterHeaders.partition]: String(request.partition),
      [deadLetterHeaders.offset]: String(request.offset),
      [deadLetterHeaders.subscription]: config.name,
      [deadLetterHeaders.attempts]: String(request.attempts),
      [deadLetterHeaders.reason]: request.reason,
      [deadLetterHeaders.time]: new Date(clock.wallMs()).toISOString(),
    });
    const target = findDeadLetterTopic(topics, config) ?? topics.getOrCreate(deadLetterTopicName(config));
    const key = messageKeyRange(chunk);
    const { partitionCount } = target.config;
    return {
      kind: 'append',
      topicId: target.topicId,
      partition: partitionOfKey(chunk, key.from, key.to, partitionCount),
      producerId: '',
      chunks: [chunk],
      count: 1,
      byteLength: chunk.byteLength,
    };
  }
}

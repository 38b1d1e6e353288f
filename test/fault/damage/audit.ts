import { type SluiceClient, SluiceError } from '@sluice/client';
import { type MessageRun, MessageStatus_State as State } from '@sluice/client/api';
import { type Acknowledged, digestOf } from './acknowledged.js';
import { subscriptionConfig, topicConfig } from './builder.js';
import type { Answer, Loss, MessageAnswer, Observation, Reading } from './observation.js';

/** Asks a broker for everything that the list knows, and changes nothing. */
export async function observe(client: SluiceClient, acknowledged: Acknowledged): Promise<Observation> {
  const { topics, subscriptions, producers } = acknowledged;
  const { admin, broker } = client;
  return {
    topicNames: await answerTo(async () => await topicNames(client)),
    subscriptionNames: await answerTo(async () => await subscriptionNames(client)),
    topics: await each(topics.keys(), async (name) => {
      const { topic } = await admin.getTopic({ name });
      const extents = topic!.partitions.map(({ firstOffset, nextOffset }) => ({
        firstOffset: Number(firstOffset),
        nextOffset: Number(nextOffset),
      }));
      return { config: topicConfig(topic!), extents };
    }),
    subscriptions: await each(subscriptions.keys(), async (key) => {
      const { topic, name } = subscriptions.get(key)!;
      const { subscription } = await admin.getSubscription({ topic, name });
      const partitions = subscription!.partitions.map(({ backlogMessageCount, deadLetterCount }) => ({
        backlog: Number(backlogMessageCount),
        deadLetters: Number(deadLetterCount),
      }));
      return { config: subscriptionConfig(subscription!), partitions };
    }),
    producers: await each(producers.keys(), async (key) => {
      const { topic, producerId } = producers.get(key)!;
      const { epoch, lastSequence } = await broker.getProducer({ topic, producerId });
      return { epoch: Number(epoch), lastSequence: Number(lastSequence) };
    }),
    messages: await each(inspectedMessages(acknowledged), (place) => inspect(client, place)),
    redrives: await each(subscriptions.keys(), (key) => countRedrivable(client, subscriptions.get(key)!)),
    readings: await readEverything(client, acknowledged),
  };
}

async function topicNames({ admin }: SluiceClient): Promise<string[]> {
  const names: string[] = [];
  let pageToken = '';
  do {
    const page = await admin.listTopics({ pageSize: 3, pageToken });
    names.push(...page.topics.map(({ name }) => name));
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  return names.sort();
}

async function subscriptionNames({ admin }: SluiceClient): Promise<string[]> {
  const { subscriptions } = await admin.listSubscriptions({ pageSize: 1_000 });
  return subscriptions.map(({ topic, name }) => `${topic}/${name}`).sort();
}

/** Messages that are looked at one by one: all that failed somewhere, and the borders of what is settled. */
function inspectedMessages({ topics, subscriptions }: Acknowledged): Set<string> {
  const places = new Set<string>();
  const add = (topic: string, partition: number, offsets: Iterable<number>): void => {
    const { firstOffset, nextOffset } = topics.get(topic)!.partitions[partition]!;
    for (const offset of offsets) {
      if (offset >= firstOffset && offset < nextOffset) places.add(`${topic}/${partition}/${offset}`);
    }
  };
  for (const { name, partitions } of topics.values()) {
    for (const [partition, { firstOffset, nextOffset }] of partitions.entries()) {
      add(name, partition, [firstOffset, nextOffset - 1]);
    }
  }
  for (const { topic, standings } of subscriptions.values()) {
    for (const [partition, { settled, failed, deadLettered }] of standings.entries()) {
      const borders = [...settled].filter((offset) => !settled.has(offset + 1)).slice(0, 5);
      add(topic, partition, [...failed.keys(), ...deadLettered.keys()]);
      add(topic, partition, [...borders, ...borders.map((at) => at + 1)]);
    }
  }
  return places;
}

async function inspect({ admin }: SluiceClient, place: string): Promise<MessageAnswer> {
  const [topic = '', partition, offset] = place.split('/');
  const { run, statuses } = await admin.getMessage({
    topic,
    partition: Number(partition),
    offset: BigInt(offset!),
  });
  const described = statuses.map(({ subscription, state, failedAttempts }) => [
    subscription,
    `${State[state]} ${failedAttempts}`,
  ]);
  return { digest: digestOf(run!.messages[0]!, run!.producerId), statuses: Object.fromEntries(described) };
}

async function countRedrivable(
  { admin }: SluiceClient,
  { topic, name: subscription }: { topic: string; name: string },
): Promise<number> {
  let count = 0;
  for await (const { redrivenCount } of admin.redriveDeadLetters({ topic, subscription, dryRun: true })) {
    count = Number(redrivenCount);
  }
  return count;
}

/** Each partition from its beginning, and from places in its middle. */
async function readEverything(client: SluiceClient, { topics }: Acknowledged): Promise<Reading[]> {
  const readings: Reading[] = [];
  for (const { name, partitions } of topics.values()) {
    for (const [partition, { firstOffset, nextOffset }] of partitions.entries()) {
      const whole = await read(client, name, partition, firstOffset, nextOffset);
      readings.push(whole);
      const places = new Set([
        Math.floor((firstOffset + nextOffset) / 2),
        ...whole.losses.flatMap(({ first = 0, last = 0 }) => [
          first - 1,
          Math.floor((first + last) / 2),
          last,
        ]),
      ]);
      for (const from of places) {
        if (from > firstOffset && from < nextOffset) {
          readings.push(await read(client, name, partition, from, nextOffset));
        }
      }
    }
  }
  return readings;
}

async function read(
  { broker }: SluiceClient,
  topic: string,
  partition: number,
  from: number,
  end: number,
): Promise<Reading> {
  const messages: [number, string][] = [];
  const losses: Loss[] = [];
  const reading = { topic, partition, from, messages, losses };
  let next = from;
  while (true) {
    try {
      for await (const run of runsFrom(broker, topic, partition, next)) {
        messages.push(...digestsOf(run));
        next = Number(run.firstOffset) + run.messages.length;
      }
      return reading;
    } catch (thrown) {
      const failure = failureOf(thrown);
      if (failure.kind === 'failed') return { ...reading, failure: failure.text };
      const { loss } = failure;
      losses.push(loss);
      // Going on behind it is possible only where it says how far it reaches.
      if (loss.last === undefined || loss.last < next) {
        return { ...reading, failure: `goes on nowhere behind: ${loss.text}` };
      }
      next = loss.last + 1;
      if (next >= end) return reading;
    }
  }
}

function digestsOf({ firstOffset, messages, producerId }: MessageRun): [number, string][] {
  return messages.map((message, index) => [Number(firstOffset) + index, digestOf(message, producerId)]);
}

async function* runsFrom(
  broker: SluiceClient['broker'],
  topic: string,
  partition: number,
  offset: number,
): AsyncGenerator<MessageRun> {
  const start = { position: { case: 'offset' as const, value: BigInt(offset) } };
  for await (const { runs } of broker.read({ topic, partition, start })) yield* runs;
}

async function each<T>(
  keys: Iterable<string>,
  ask: (key: string) => Promise<T>,
): Promise<Record<string, Answer<T>>> {
  // A few at once: an audit of a whole store takes less than a second.
  const waiting = [...keys];
  const answers: [string, Answer<T>][] = [];
  const ends = Array.from({ length: 8 }, async () => {
    for (let key = waiting.shift(); key !== undefined; key = waiting.shift()) {
      const asked = key;
      answers.push([asked, await answerTo(() => ask(asked))]);
    }
  });
  await Promise.all(ends);
  return Object.fromEntries(answers.sort(([a], [b]) => (a < b ? -1 : 1)));
}

export async function answerTo<T>(ask: () => Promise<T>): Promise<Answer<T>> {
  try {
    return { kind: 'said', value: await ask() };
  } catch (thrown) {
    return failureOf(thrown);
  }
}

/** A DATA_LOSS, with what it names, or another failure. */
export function failureOf(thrown: unknown): Exclude<Answer<never>, { kind: 'said' }> {
  if (!(thrown instanceof SluiceError)) throw thrown;
  const { reason, message, metadata } = thrown;
  if (reason !== 'DATA_LOSS') return { kind: 'failed', text: `${reason}: ${message}` };
  const { partition, firstOffset, lastOffset } = metadata;
  return {
    kind: 'lost',
    loss: {
      text: message,
      ...(partition !== undefined && { partition: Number(partition) }),
      ...(firstOffset !== undefined && { first: Number(firstOffset) }),
      ...(lastOffset !== undefined && { last: Number(lastOffset) }),
    },
  };
}

import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Client, Producer, SluiceError } from '@sluice/client';

/** Messages between two turns of the event loop. */
const burst = 256;

/** From the first send to the last receipt. */
export async function benchPublish(client: Client, topic: string, messages: number, payloadBytes: number) {
  const payload = Buffer.alloc(payloadBytes);
  const producer = await Producer.open(client, { topic });
  let failure: unknown;
  const failed = (error: unknown) => {
    failure ??= error;
  };
  const beginMs = performance.now();
  for (let i = 0; i < messages; i++) {
    if (i % burst === 0) {
      await producer.room();
      await nextTurn();
    }
    producer.send({ payload }).catch(failed);
  }
  await producer.flush();
  const seconds = (performance.now() - beginMs) / 1000;
  await producer.close();
  if (failure !== undefined) throw failure;
  return { messages, seconds };
}

/** From the first delivery to the last durable acknowledgement. */
export async function benchConsume(client: Client, topic: string, subscription: string, messages: number) {
  const consumer = client.consumer({ topic, subscription });
  let beginMs = 0;
  let handledCount = 0;
  const running = consumer.run(() => {
    if (handledCount === 0) beginMs = performance.now();
    handledCount++;
    // Closing waits until what was acknowledged is durable.
    if (handledCount === messages) void consumer.close();
  });
  await running;
  return { messages: handledCount, seconds: (performance.now() - beginMs) / 1000 };
}

/** A message's time runs from the moment when it was due: one that is sent late waits as well. */
export async function benchLatency(
  client: Client,
  { topic, subscription, rate, seconds, warmupSeconds, payloadBytes }: LatencyOptions,
) {
  const warmupCount = Math.round(rate * warmupSeconds);
  const count = warmupCount + Math.round(rate * seconds);
  const published: number[] = [];
  const delivered: number[] = [];
  let beginMs = 0;
  const dueMs = (index: number) => beginMs + (index * 1000) / rate;
  const consumer = client.consumer({ topic, subscription, start: 'latest' });
  const done = consumer.run(({ payload }) => {
    delivered.push(performance.now() - dueMs(payload.readUInt32LE(0)));
    if (delivered.length === count) void consumer.close();
  });
  await untilConnected(client, topic, subscription);
  const producer = await Producer.open(client, { topic });
  beginMs = performance.now();
  for (let i = 0; i < count; i++) {
    while (performance.now() < dueMs(i)) await nextTurn();
    const payload = Buffer.alloc(Math.max(4, payloadBytes));
    payload.writeUInt32LE(i);
    void producer.send({ payload }).then(() => published.push(performance.now() - dueMs(i)));
  }
  await producer.close();
  await done;
  // They come in order, nearly.
  const counted = published.slice(warmupCount);
  const publish = percentiles(counted);
  return { messages: counted.length, publish, deliver: percentiles(delivered.slice(warmupCount)) };
}

export interface LatencyOptions {
  readonly topic: string;
  readonly subscription: string;
  /** Messages a second. */
  readonly rate: number;
  readonly seconds: number;
  /** Before that, at the same rate; not counted. */
  readonly warmupSeconds: number;
  readonly payloadBytes: number;
}

/** Until the broker knows the consumer: what is sent before would not count. */
async function untilConnected(client: Client, topic: string, subscription: string): Promise<void> {
  for (;;) {
    try {
      const { consumers } = await client.admin.listConsumers({ topic, subscription });
      if (consumers.length > 0) return;
    } catch (thrown) {
      const { reason } = SluiceError.from(thrown);
      if (reason !== 'TOPIC_NOT_FOUND' && reason !== 'SUBSCRIPTION_NOT_FOUND') throw thrown;
    }
    await nextTurn();
  }
}

function percentiles(timesMs: readonly number[]) {
  const sorted = Float64Array.from(timesMs).sort();
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
  return { p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1) };
}

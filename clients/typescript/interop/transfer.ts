import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, type Delivery, Producer, type Receipt, SluiceError, StatusCode } from '@sluice/client';
import { type CaseMessage, readCase } from './cases.js';
import { Check } from './check.js';

const pollMs = 20;

/** One `send` each, in order; waits for every receipt. */
export async function produce(client: Client, topic: string, name: string, casesPath?: string) {
  const { messages } = readCase(name, casesPath);
  const producer = await openProducer(client, topic);
  const sending: Promise<Receipt>[] = [];
  for (const message of messages) {
    await producer.room();
    sending.push(producer.send(toOutgoing(message)));
  }
  const receipts = await Promise.all(sending);
  await producer.close();
  return {
    sent: messages.length,
    receipts: receipts.map(({ partition, offset }) =>
      partition === undefined ? null : [partition, Number(offset)],
    ),
  };
}

function toOutgoing({ key, payload, headers, eventTime }: CaseMessage) {
  return { key, payload, headers, ...(eventTime !== undefined && { eventTime }) };
}

/** Also while the broker is away: it comes back. */
async function openProducer(client: Client, topic: string): Promise<Producer> {
  for (;;) {
    try {
      return await Producer.open(client, { topic });
    } catch (thrown) {
      if (!isAway(thrown)) throw thrown;
    }
    await sleep(pollMs);
  }
}

/** With a handler, until every acknowledgement is durable. */
export async function consume(
  client: Client,
  topic: string,
  subscription: string,
  name: string,
  casesPath?: string,
) {
  const check = new Check(readCase(name, casesPath).messages);
  const consumer = client.consumer({ topic, subscription });
  const running = consumer.run((delivery: Delivery) => check.handle(delivery));
  const durable = (async () => {
    while (!check.isDurable) {
      await sleep(pollMs);
      // An answer that a broken stream has swallowed does not come again, and neither does its message.
      if (check.isHandled && (await isCaughtUp(client, topic, subscription))) return;
    }
  })();
  await Promise.race([running, durable]);
  await consumer.close();
  await running;
  return { received: check.receivedCount, redelivered: check.redeliveredCount, problems: check.problems };
}

async function isCaughtUp(client: Client, topic: string, name: string): Promise<boolean> {
  try {
    const { subscription } = await client.admin.getSubscription({ topic, name }, { timeoutMs: 5_000 });
    return subscription!.partitions.every(({ backlogMessageCount }) => backlogMessageCount === 0n);
  } catch (thrown) {
    // Asked again later.
    if (isAway(thrown)) return false;
    throw thrown;
  }
}

/** The broker is down, or too busy to answer. */
function isAway(thrown: unknown): boolean {
  const { code } = SluiceError.from(thrown);
  return code === StatusCode.UNAVAILABLE || code === StatusCode.DEADLINE_EXCEEDED;
}

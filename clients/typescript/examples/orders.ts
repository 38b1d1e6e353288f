/**
 * Orders that are billed, in order of each customer; one of them fails twice and is then given up.
 * Run it with the address of a broker: node orders.js 127.0.0.1:7070
 */
import { connect } from '@sluice/client';
import { Ordering } from '@sluice/client/api';

const client = connect(process.argv[2] ?? '127.0.0.1:7070');
const topic = 'orders';
const customers = ['anna', 'ben', 'carla'];
const orderCount = 30;

await client.admin.createTopic({ topic: { name: topic, partitionCount: 4 } });
await client.admin.createSubscription({
  subscription: { topic, name: 'billing', ordering: Ordering.KEY, deadLetter: { maxAttempts: 2 } },
});

const producer = await client.producer({ topic });
await Promise.all(
  Array.from({ length: orderCount }, (_, i) =>
    producer.send({ key: customers[i % customers.length]!, payload: `order ${i}` }),
  ),
);
await producer.close();
console.log(`${orderCount} orders are durable`);

const billed: string[] = [];
const consumer = client.consumer({ topic, subscription: 'billing', concurrency: customers.length });
await consumer.run(async ({ key, payload, attempt }) => {
  const order = payload.toString();
  if (order === 'order 7') {
    console.log(`${order} of ${key} fails, attempt ${attempt}`);
    throw new Error('no such card');
  }
  billed.push(order);
  // From within a handler: not awaited, for it waits for handlers.
  if (billed.length === orderCount - 1) void consumer.close();
});
console.log(`${billed.length} orders were billed`);
client.close();

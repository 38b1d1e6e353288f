import { append, commit, createTopic, openIn } from '../integration/storage/harness.js';

/**
 * A process that writes until it is killed or its disk is full. It says on its standard output, a line each,
 * what was committed: `partition firstOffset sequence`; then what failed.
 */
const [directory, durability, payloadBytes] = process.argv.slice(2) as [string, 'written' | 'synced', string];
const partitionCount = 3;
const say = (line: string): boolean => process.stdout.write(`${line}\n`);

const storage = await openIn(directory, {}, (error) =>
  say(`listener ${'reason' in error ? error.reason : ''}`),
);
const topicId =
  storage.recovered.topics[0]?.topicId ?? (await createTopic(storage, 'orders', partitionCount));
let hasFailed = false;

/** Each transaction goes to two partitions and moves a producer: all of it, or nothing. */
async function write(writer: number): Promise<void> {
  const producerId = `producer-${writer}`;
  for (let sequence = 1; !hasFailed; sequence++) {
    const message = `${writer}:${sequence}:`.padEnd(Number(payloadBytes), 'x');
    const appends = [writer % partitionCount, (writer + 1) % partitionCount].map((partition) =>
      append(topicId, partition, [message], producerId),
    );
    const producers = [{ topicId, producerId, epoch: 1, lastSequence: sequence, baseSequence: 0 }];
    try {
      const offsets = await commit(storage, { durability, appends, producers });
      for (const [index, offset] of offsets.entries()) {
        say(`${appends[index]!.partition} ${offset} ${writer}:${sequence}:`);
      }
    } catch (error) {
      hasFailed = true;
      say(`failed ${(error as { reason?: string }).reason}`);
    }
  }
}

await Promise.all([0, 1, 2, 3, 4, 5].map(write));
try {
  storage.submit({ durability });
  say('submitted');
} catch (error) {
  say(`refused ${(error as { reason?: string }).reason}`);
}
await storage.close();
say('closed');

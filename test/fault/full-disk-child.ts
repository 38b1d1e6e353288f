import { MiB } from '../../src/base/units.js';
import { append, commit, createTopic, openIn } from '../integration/storage/harness.js';

/** A process that publishes so many messages of 10 kB, says so, and lives until it is killed. */
const [directory, count] = process.argv.slice(2) as [string, string];
const storage = await openIn(directory, { minFreeDiskBytes: 8 * MiB });
const topicId = await createTopic(storage, 'orders', 3);
for (let index = 0; index < Number(count); index++) {
  await commit(storage, { appends: [append(topicId, index % 3, [Buffer.alloc(10_000, index)])] });
}
process.stdout.write('published\n');
setInterval(() => {}, 1_000_000);

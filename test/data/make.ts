import { openIn } from '../integration/storage/harness.js';
import { fillFirstHalf, fillSecondHalf } from './contents.js';

/**
 * Makes a data directory of the format that this build writes, for test/data/: `clean` ends in good order, `killed`
 * in the middle of its life. Run it when the format changes, before the build that changes it is released:
 *
 *     node dist/test/data/make.js test/data/format-N-clean clean
 *     node dist/test/data/make.js test/data/format-N-killed killed
 */
const [directory, ending] = process.argv.slice(2);
if (directory === undefined || (ending !== 'clean' && ending !== 'killed')) {
  throw new Error('usage: make.js <directory> clean|killed');
}
const first = await openIn(directory);
await fillFirstHalf(first);
await first.close();
const second = await openIn(directory);
await fillSecondHalf(second);
if (ending === 'killed') process.kill(process.pid, 'SIGKILL');
await second.close();

import assert from 'node:assert/strict';
import { minuteMs } from '../../src/base/units.js';
import { grpcurlDirectory } from '../support/go-tools.js';
import { PageWalk } from '../support/page-walk.js';

describe('the walk of README.md', () => {
  let walk: PageWalk;

  before(async function () {
    walk = new PageWalk('README.md', [await grpcurlDirectory(this)]);
  });
  afterEach(function () {
    if (this.currentTest?.state === 'failed') console.error(walk.report());
  });
  after(() => walk?.dispose());

  it('does and prints what the page says', async function () {
    this.timeout(minuteMs);
    this.slow(0.5 * minuteMs);
    await walk.play();
  });

  it('goes through a kill and a second start', () => {
    const commands = walk.steps.map((step) => step.command);
    const kill = commands.findIndex((command) => command.startsWith('kill -9 '));
    const starts = commands.flatMap((command, i) => (command.includes(' serve ') ? [i] : []));
    assert.equal(starts.length, 2);
    assert.ok(starts[0]! < kill && kill < starts[1]!);
    for (const method of ['Publish', 'Subscribe', 'Acknowledge', 'Read']) {
      assert.ok(
        commands.some((command) => command.includes(`sluice.v1.Broker/${method}`)),
        method,
      );
    }
  });
});

import assert from 'node:assert/strict';
import { minuteMs } from '../../src/base/units.js';
import { Admin } from '../../src/gen/sluice/v1/admin_pb.js';
import { Broker } from '../../src/gen/sluice/v1/broker_pb.js';
import { ghzDirectory, grpcurlDirectory } from '../support/go-tools.js';
import { PageWalk } from '../support/page-walk.js';
import { repositoryRoot } from '../support/repository.js';

describe('docs/grpcurl.md', () => {
  let walk: PageWalk;

  before(async function () {
    const tools = [await grpcurlDirectory(this), await ghzDirectory(this)];
    walk = new PageWalk('docs/grpcurl.md', [...tools, `${repositoryRoot}node_modules/.bin`]);
  });
  afterEach(function () {
    if (this.currentTest?.state === 'failed') console.error(walk.report());
  });
  after(() => walk?.dispose());

  it('does and prints what the page says', async function () {
    this.timeout(2 * minuteMs);
    this.slow(minuteMs);
    await walk.play();
  });

  it('has a recipe for each thing that people do by hand', () => {
    const commands = walk.steps.map((step) => step.command).join('\n');
    const broker = ['Publish', 'Read', 'Subscribe', 'Acknowledge', 'UpdateFlowControl'];
    broker.push('OpenProducer', 'GetProducer');
    const admin = ['GetMessage', 'ListConsumers', 'ListProducers', 'RedriveDeadLetters', 'SeekSubscription'];
    for (const method of broker) assert(commands.includes(`${Broker.typeName}/${method}`), method);
    for (const method of admin) assert(commands.includes(`${Admin.typeName}/${method}`), method);
    for (const tool of ['grpcurl ', 'buf curl ', 'ghz ', 'sluice ']) assert(commands.includes(tool), tool);
  });
});

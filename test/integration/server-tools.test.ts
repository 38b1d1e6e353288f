import assert from 'node:assert/strict';
import { join } from 'node:path';
import { SluiceError } from '../../src/base/errors.js';
import { Admin } from '../../src/gen/sluice/v1/admin_pb.js';
import { Broker } from '../../src/gen/sluice/v1/broker_pb.js';
import { FakeBroker, receiptOf } from '../support/fake-broker.js';
import { grpcurlDirectory } from '../support/go-tools.js';
import { type Harness, startHarness } from '../support/grpc-harness.js';
import { runTool } from '../support/run-tool.js';

/** The tools that people look inside with: none of them shares a line with this server. */
describe('other tools', () => {
  let broker: FakeBroker;
  let harness: Harness;

  before(async () => {
    broker = new FakeBroker();
    harness = await startHarness(broker);
    harness.server.setServing(true);
  });
  after(() => harness.close());

  describe('grpcurl', () => {
    let path: string;

    before(async function () {
      path = join(await grpcurlDirectory(this), 'grpcurl');
    });

    const grpcurl = (...args: string[]) => runTool(path, ['-plaintext', ...args]);

    it('lists services and methods', async () => {
      const { stdout } = await grpcurl(harness.server.address, 'list');
      const services = [Admin.typeName, Broker.typeName, 'grpc.health.v1.Health'];
      for (const service of services) assert(stdout.split('\n').includes(service), stdout);
      const methods = (await grpcurl(harness.server.address, 'list', Broker.typeName)).stdout;
      for (const { name } of Broker.methods) assert(methods.includes(`.${name}\n`), methods);
    });

    it('describes messages as they were written', async () => {
      const { stdout } = await grpcurl(harness.server.address, 'describe', 'sluice.v1.PublishRequest');
      assert.match(stdout, /optional uint32 partition = 2;/);
      const consumer = await grpcurl(harness.server.address, 'describe', 'sluice.v1.ConsumeResponse');
      assert.match(consumer.stdout, /message Settled/);
      for (const { input, output } of [...Broker.methods, ...Admin.methods]) {
        for (const { typeName } of [input, output]) {
          assert.equal((await grpcurl(harness.server.address, 'describe', typeName)).exitCode, 0, typeName);
        }
      }
    }).timeout(60_000);

    it('publishes', async () => {
      broker.answer = (batch) => receiptOf(batch, 40);
      const request = '{"topic":"t","messages":[{"key":"aw==","payload":"eA==","headers":{"a":"ä"}}]}';
      const { stdout, stderr } = await grpcurl(
        '-d',
        request,
        harness.server.address,
        'sluice.v1.Broker/Publish',
      );
      assert.equal(stderr, '');
      assert.equal(JSON.parse(stdout).ranges[0].firstOffset, '40');
    });

    it('reads the details of an error', async () => {
      let requestCount = 0;
      broker.answer = (batch) => {
        requestCount++;
        return requestCount === 1
          ? receiptOf(batch, 0)
          : new SluiceError('BACKLOG_FULL', 'voll: größer als 100 %');
      };
      const requests = '{"topic":"t","messages":[{}]} {"messages":[{}]}';
      const args = ['-format-error', '-d', requests, harness.server.address, 'sluice.v1.Broker/Publish'];
      const { stderr } = await grpcurl(...args);
      const status = JSON.parse(stderr);
      assert.equal(status.code, 8);
      assert.equal(status.message, 'voll: größer als 100 %');
      const [info, failure] = status.details;
      assert.deepEqual([info.reason, info.domain], ['BACKLOG_FULL', 'sluice.v1']);
      assert.equal(failure['@type'], 'type.googleapis.com/sluice.v1.PublishFailure');
      assert.equal(failure.durableRequestCount, '1');
    });

    it('asks for health', async () => {
      const args = [
        '-d',
        '{"service":"sluice.v1.Broker"}',
        harness.server.address,
        'grpc.health.v1.Health/Check',
      ];
      assert.equal(JSON.parse((await grpcurl(...args)).stdout).status, 'SERVING');
    });
  });

  it('buf curl calls a method that it learned by reflection', async () => {
    const { stdout, stderr } = await runTool('node_modules/.bin/buf', [
      'curl',
      '--http2-prior-knowledge',
      '--protocol=grpc',
      `http://${harness.server.address}/sluice.v1.Admin/GetServerInfo`,
    ]);
    assert.equal(stderr, '');
    assert.equal(JSON.parse(stdout).version, '1.2.3');
  });
});

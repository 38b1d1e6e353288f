import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fromBinary } from '@bufbuild/protobuf';
import { minuteMs } from '../../src/base/units.js';
import { ExitCode } from '../../src/cli/exit.js';
import {
  Broker,
  ConsumeRequestSchema,
  ConsumeResponseSchema,
  PublishRequestSchema,
} from '../../src/gen/sluice/v1/broker_pb.js';
import { BrokerProcess, showLogOnFailure } from '../support/broker-process.js';
import { type Patch, patchedDist } from '../support/patched-dist.js';
import { encode, RawConnection, type RawStatus } from '../support/raw-grpc.js';

interface Defect extends Patch {
  readonly name: string;
}

/** One on each way that a request takes: begun by a call, by the log, by an answer of the store, by a timer. */
const defects: readonly Defect[] = [
  {
    name: 'a broken invariant as messages are leased',
    path: 'src/core/leases.js',
    right: 'invariant(isFree,',
    wrong: 'invariant(false,',
  },
  {
    name: 'a wrong type as a batch is stored',
    path: 'src/broker/publishing/publisher.js',
    right: 'const appends = routeBatch(topic, batch, skip, producerId);',
    wrong: 'const appends = undefined.route;',
  },
  {
    name: 'a wrong type as a receipt is given',
    path: 'src/broker/publishing/publisher.js',
    right: 'topic.backlog.committed(storedCount, storedBytes);',
    wrong: 'undefined.committed();',
  },
  {
    name: 'a wrong type as messages are settled',
    path: 'src/broker/delivery/subscription-runner.js',
    right: 'const result = this.#state.settle(',
    wrong: 'const result = undefined.settle(',
  },
];

/** Publishes a message, consumes it and acknowledges it; the status of each call that ended. */
function publishAndConsume(connection: RawConnection, ended: (status: RawStatus) => void): void {
  const consumer = connection.open(Broker.method.consume, {
    onMessage(bytes) {
      const { runs } = fromBinary(ConsumeResponseSchema, bytes);
      if (runs.length === 0) return;
      consumer.write(
        encode(ConsumeRequestSchema, {
          settlementId: 1n,
          settlements: [{ offsets: { partition: 0 }, outcome: { case: 'ack', value: {} } }],
        }),
      );
    },
    onEnd: ended,
  });
  consumer.write(encode(ConsumeRequestSchema, { subscribe: { topic: 't', subscription: 's' } }));
  const producer = connection.open(Broker.method.publish, { onMessage() {}, onEnd: ended });
  producer.write(encode(PublishRequestSchema, { topic: 't', messages: [{ payload: Buffer.from('m') }] }));
  producer.end();
}

describe('a broker with a defect', function () {
  this.timeout(minuteMs);
  let broker: BrokerProcess | undefined;
  showLogOnFailure(() => broker);

  for (const defect of defects) {
    it(`ends at once, says so, and answers nothing: ${defect.name}`, async () => {
      const directory = mkdtempSync(join(tmpdir(), 'sluice-defect-'));
      try {
        broker = await BrokerProcess.start({ dist: patchedDist(directory, ['src'], defect) });
        const connection = await RawConnection.connect(broker.address);
        const statuses: RawStatus[] = [];
        publishAndConsume(connection, (status) => statuses.push(status));
        assert.deepEqual(await broker.exited, { code: ExitCode.defect, signal: null });
        assert.match(broker.tail(), /"level":"error".*a defect of the broker: ending at once/);
        assert.deepEqual(
          statuses.filter(({ reason }) => reason !== ''),
          [],
          'an answer of the broker',
        );
        connection.destroy();
      } finally {
        await broker?.dispose();
        rmSync(directory, { recursive: true, force: true });
      }
    });
  }
});

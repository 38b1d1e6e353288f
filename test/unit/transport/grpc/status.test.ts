import assert from 'node:assert/strict';
import { create } from '@bufbuild/protobuf';
import { anyUnpack } from '@bufbuild/protobuf/wkt';
import { fieldOf } from '../../../../src/api/sluice-v1/error-fields.js';
import { SluiceError } from '../../../../src/base/errors.js';
import { InvariantError, onDefect } from '../../../../src/base/invariant.js';
import { limits } from '../../../../src/base/limits.js';
import { StatusCode } from '../../../../src/base/reasons.js';
import { CreateTopicRequestSchema } from '../../../../src/gen/sluice/v1/admin_pb.js';
import { AcknowledgeRequestSchema, PublishFailureSchema } from '../../../../src/gen/sluice/v1/broker_pb.js';
import { clientError, fromStatus, toStatus } from '../../../../src/transport/grpc/status.js';
import { recordingLogger } from '../../../support/grpc-harness.js';

describe('toStatus and fromStatus', () => {
  it('carry everything there and back', () => {
    const details = { field: 'topic.name', retryAfterMs: 1500, metadata: { limit: '4' } };
    const error = new SluiceError('BACKLOG_FULL', 'the backlog of "größe" is full 💥 100 %', details);
    const status = toStatus(error);
    assert.equal(status.code, StatusCode.RESOURCE_EXHAUSTED);
    assert.equal(status.details, error.message);
    const received = fromStatus(status);
    assert.equal(received?.error.reason, 'BACKLOG_FULL');
    assert.equal(received?.error.message, error.message);
    assert.deepEqual(received?.error.details, details);
    assert.deepEqual(received?.extra, []);
  });

  it('carry one more detail', () => {
    const message = create(PublishFailureSchema, { durableRequestCount: 3n });
    const status = toStatus(new SluiceError('DRAINING', 'bye'), { schema: PublishFailureSchema, message });
    const [extra] = fromStatus(status)?.extra ?? [];
    assert(extra !== undefined);
    assert.deepEqual(anyUnpack(extra, PublishFailureSchema), message);
  });

  it('make text that a header can carry', () => {
    const halfCharacter = `${'x'.repeat(limits.maxErrorTextLength - 1)}💥`;
    const { details } = toStatus(new SluiceError('INTERNAL', halfCharacter));
    assert.doesNotThrow(() => encodeURI(details));
    assert(details.length <= limits.maxErrorTextLength);
  });

  it('know a status that is not ours', () => {
    const { metadata } = toStatus(new SluiceError('INTERNAL', 'x'));
    metadata.remove('grpc-status-details-bin');
    assert.equal(fromStatus({ metadata }), undefined);
  });
});

describe('clientError', () => {
  it('passes on an error that was meant for the client', () => {
    const logger = recordingLogger();
    const error = new SluiceError('TOPIC_NOT_FOUND', 'no topic');
    assert.equal(clientError(error, { logger, fieldOf }, undefined), error);
    assert.deepEqual(logger.errors, []);
  });

  it('names the field of the request that the broker found at fault', () => {
    const services = { logger: recordingLogger(), fieldOf };
    const found = { subject: 'partitionCount', metadata: { max: '9' } } as const;
    const { reason, message, details } = clientError(
      new SluiceError('INVALID_FIELD', 'bad', found),
      services,
      CreateTopicRequestSchema,
    );
    assert.deepEqual([reason, message], ['INVALID_FIELD', 'bad']);
    assert.deepEqual(details, { field: 'topic.partition_count', metadata: { max: '9' } });
    const settlement = { subject: { settlement: 3, part: 'extension' } } as const;
    const invalid = new SluiceError('INVALID_FIELD', 'bad', settlement);
    const error = clientError(invalid, services, AcknowledgeRequestSchema);
    assert.equal(error.details.field, 'settlements[3].extend.by');
    assert.deepEqual(clientError(invalid, services, undefined).details, {});
    assert.deepEqual(clientError(invalid, services, CreateTopicRequestSchema).details, {});
  });

  it('keeps what came from outside to itself, and logs it with its stack', () => {
    const logger = recordingLogger();
    const fault = new Error('EIO: secret path');
    const error = clientError(fault, { logger, fieldOf }, undefined);
    assert.equal(error.reason, 'INTERNAL');
    assert(!error.message.includes('secret'));
    assert.deepEqual(logger.errors[0]?.fields, { error: fault });
  });

  it('makes no answer of a defect: that ends the process', () => {
    for (const defect of [new InvariantError('x'), new TypeError('x'), new RangeError('x')]) {
      const ended: Error[] = [];
      onDefect((error) => ended.push(error));
      try {
        assert.throws(
          () => clientError(defect, { logger: recordingLogger(), fieldOf }, undefined),
          (thrown) => thrown === defect,
        );
      } finally {
        onDefect(() => {});
      }
      assert.deepEqual(ended, [defect]);
    }
  });
});

import assert from 'node:assert/strict';
import type { DescMessage } from '@bufbuild/protobuf';
import { fieldOf } from '../../../../src/api/sluice-v1/error-fields.js';
import type { ErrorSubject, SettlementPart } from '../../../../src/base/errors.js';
import { Admin } from '../../../../src/gen/sluice/v1/admin_pb.js';
import { Broker } from '../../../../src/gen/sluice/v1/broker_pb.js';
import { hasFieldPath } from '../../../support/field-path.js';

/** Every subject: a new one is a type error here. */
const named: Readonly<Record<Extract<ErrorSubject, string>, true>> = {
  topic: true,
  partition: true,
  partitionCount: true,
  retentionAge: true,
  retentionBytes: true,
  backlogBytes: true,
  backlogMessages: true,
  ackDeadline: true,
  backoff: true,
  minBackoff: true,
  maxBackoff: true,
  maxAttempts: true,
  deadLetterTopic: true,
  consumerId: true,
  position: true,
  limit: true,
  redriveRate: true,
  creditMessages: true,
  creditBytes: true,
  epoch: true,
  firstSequence: true,
  pageToken: true,
};
const partNames: Readonly<Record<SettlementPart, true>> = {
  partition: true,
  offsets: true,
  extension: true,
  delay: true,
  nackReason: true,
  deadLetterReason: true,
};
const parts = Object.keys(partNames) as SettlementPart[];
const subjects: ErrorSubject[] = [
  ...(Object.keys(named) as (keyof typeof named)[]),
  ...parts.map((part) => ({ settlement: 2, part })),
];
const methods = [...Broker.methods, ...Admin.methods];

describe('the field of a subject', () => {
  for (const { name, input } of methods) {
    it(`exists in the request of ${name}`, () => {
      for (const subject of subjects) {
        const field = fieldOf(subject, input);
        assert(field === undefined || hasFieldPath(input, field), `${JSON.stringify(subject)}: ${field}`);
      }
    });
  }

  const fieldIn = (subject: ErrorSubject): Record<string, string> => {
    const found = methods.map(({ name, input }) => [name, fieldOf(subject, input as DescMessage)]);
    return Object.fromEntries(found.filter(([, field]) => field !== undefined));
  };

  it('exists in a request, for every subject', () => {
    for (const subject of subjects) {
      assert.notDeepEqual(fieldIn(subject), {}, JSON.stringify(subject));
    }
  });

  it('is found in each request that has it', () => {
    assert.deepEqual(fieldIn('deadLetterTopic'), {
      Subscribe: 'subscription',
      Consume: 'subscribe.subscription',
      CreateSubscription: 'subscription.dead_letter.topic',
      UpdateSubscription: 'subscription.dead_letter.topic',
      ListConsumers: 'subscription',
      RedriveDeadLetters: 'subscription',
    });
    assert.deepEqual(fieldIn({ settlement: 3, part: 'delay' }), {
      Consume: 'settlements[3].nack.delay',
      Acknowledge: 'settlements[3].nack.delay',
    });
    assert.deepEqual(fieldIn('pageToken'), { ListTopics: 'page_token', ListSubscriptions: 'page_token' });
  });
});

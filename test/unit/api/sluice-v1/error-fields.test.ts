import assert from 'node:assert/strict';
import type { DescMessage } from '@bufbuild/protobuf';
import { fieldOf } from '../../../../src/api/sluice-v1/error-fields.js';
import type { ErrorSubject } from '../../../../src/base/errors.js';
import { Admin } from '../../../../src/gen/sluice/v1/admin_pb.js';
import { Broker } from '../../../../src/gen/sluice/v1/broker_pb.js';
import { hasFieldPath } from '../../../support/field-path.js';

/** Every subject: a new one is a type error here. */
const named: Readonly<Record<Extract<ErrorSubject, string>, true>> = {
  topic: true,
  partition: true,
  partitionCount: true,
  deadLetterTopic: true,
  epoch: true,
  firstSequence: true,
  pageToken: true,
};
const parts = ['partition', 'offsets', 'extension', 'delay'] as const;
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

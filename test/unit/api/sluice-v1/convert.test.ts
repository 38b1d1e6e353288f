import assert from 'node:assert/strict';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { toDuration } from '../../../../src/api/duration.js';
import { fromCredit, toCredit, toSettlements } from '../../../../src/api/sluice-v1/convert-session.js';
import { toStart } from '../../../../src/api/sluice-v1/convert-start.js';
import {
  fromSubscription,
  toSubscription,
  toSubscriptionChange,
} from '../../../../src/api/sluice-v1/convert-subscription.js';
import { fromTopic, toTopic, toTopicChange } from '../../../../src/api/sluice-v1/convert-topic.js';
import { checkName, toMs } from '../../../../src/api/sluice-v1/convert-values.js';
import { SluiceError } from '../../../../src/base/errors.js';
import { limits } from '../../../../src/base/limits.js';
import type { Reason } from '../../../../src/base/reasons.js';
import {
  BacklogLimit_WhenFull,
  CreateTopicRequestSchema,
  Ordering,
  SubscriptionSchema,
  TopicSchema,
  UpdateSubscriptionRequestSchema,
  UpdateTopicRequestSchema,
} from '../../../../src/gen/sluice/v1/admin_pb.js';
import { FlowControlSchema, SettlementSchema } from '../../../../src/gen/sluice/v1/broker_pb.js';
import {
  Durability,
  StartPosition_Boundary,
  StartPositionSchema,
} from '../../../../src/gen/sluice/v1/message_pb.js';

function refused(run: () => unknown, reason: Reason, field: string): void {
  assert.throws(run, (thrown) => {
    assert(thrown instanceof SluiceError, String(thrown));
    assert.deepEqual([thrown.reason, thrown.details.field], [reason, field]);
    return true;
  });
}

describe('names', () => {
  it('are letters, digits and a few signs', () => {
    for (const name of ['a', 'orders.v1', 'A_b-9', 'x'.repeat(200)]) assert.equal(checkName(name, 'f'), name);
    for (const name of ['', '-a', '_a', 'a b', 'ü', 'a\n', 'x'.repeat(201)]) {
      refused(() => checkName(name, 'f'), 'INVALID_NAME', 'f');
    }
  });
});

describe('durations', () => {
  it('become milliseconds, a little never nothing', () => {
    assert.equal(toMs(undefined, 'f'), 0);
    assert.equal(toMs(toDuration(1234), 'f'), 1234);
    assert.equal(toMs({ ...toDuration(0), nanos: 1 }, 'f'), 1);
    assert.equal(toDuration(1500).nanos, 500_000_000);
  });

  it('are refused where they are negative or invalid', () => {
    refused(() => toMs({ ...toDuration(0), seconds: -1n }, 'f'), 'INVALID_FIELD', 'f');
    refused(() => toMs({ ...toDuration(0), nanos: -1 }, 'f'), 'INVALID_FIELD', 'f');
    refused(() => toMs({ ...toDuration(0), nanos: 1e9 }, 'f'), 'INVALID_FIELD', 'f');
    refused(() => toMs({ ...toDuration(0), seconds: 2n ** 62n }, 'f'), 'INVALID_FIELD', 'f');
  });
});

describe('toStart', () => {
  const start = (init: MessageInitShape<typeof StartPositionSchema>) =>
    toStart(create(StartPositionSchema, init), 's');

  it('knows every position', () => {
    const boundary = (value: StartPosition_Boundary) => start({ position: { case: 'boundary', value } });
    assert.equal(toStart(undefined, 's'), undefined);
    assert.equal(start({}), undefined);
    assert.equal(boundary(StartPosition_Boundary.UNSPECIFIED), undefined);
    assert.deepEqual(boundary(StartPosition_Boundary.EARLIEST), { kind: 'earliest' });
    assert.deepEqual(boundary(StartPosition_Boundary.LATEST), { kind: 'latest' });
    refused(() => boundary(9 as StartPosition_Boundary), 'INVALID_FIELD', 's.boundary');
    assert.deepEqual(start({ position: { case: 'offset', value: 7n } }), { kind: 'offset', offset: 7 });
    refused(() => start({ position: { case: 'offset', value: 2n ** 53n } }), 'INVALID_FIELD', 's.offset');
    const time = { seconds: 1n, nanos: 999_999_999 };
    assert.deepEqual(start({ position: { case: 'time', value: time } }), { kind: 'time', timeMs: 1999 });
    const invalid = { seconds: 1n, nanos: -1 };
    refused(() => start({ position: { case: 'time', value: invalid } }), 'INVALID_FIELD', 's.time');
  });
});

describe('toSettlements', () => {
  const settle = (...inits: MessageInitShape<typeof SettlementSchema>[]) =>
    toSettlements(inits.map((init) => create(SettlementSchema, init)));
  const offsets = { partition: 3, firstOffset: 1n, lastOffset: 2n };

  it('knows every outcome', () => {
    const place = { partition: 3, first: 1, last: 2 };
    const delay = toDuration(0);
    assert.deepEqual(
      settle(
        { offsets, outcome: { case: 'ack', value: {} } },
        { offsets, outcome: { case: 'nack', value: {} } },
        { offsets, outcome: { case: 'nack', value: { delay } } },
        { offsets, outcome: { case: 'extend', value: { by: toDuration(50) } } },
        { offsets, outcome: { case: 'deadLetter', value: { reason: 'bad' } } },
      ),
      [
        { ...place, outcome: { kind: 'ack' } },
        { ...place, outcome: { kind: 'nack', reason: '' } },
        { ...place, outcome: { kind: 'nack', reason: '', delayMs: 0 } },
        { ...place, outcome: { kind: 'extend', byMs: 50 } },
        { ...place, outcome: { kind: 'deadLetter', reason: 'bad' } },
      ],
    );
  });

  it('takes "all there are" for an end', () => {
    const all = { partition: 0, firstOffset: 0n, lastOffset: 2n ** 64n - 1n };
    const [settlement] = settle({ offsets: all, outcome: { case: 'ack', value: {} } });
    assert.equal(settlement?.last, Number.MAX_SAFE_INTEGER);
  });

  it('names what is wrong', () => {
    const ack = { case: 'ack', value: {} } as const;
    const negative = { delay: { nanos: -1 } };
    refused(
      () => settle({ offsets, outcome: ack }, { outcome: ack }),
      'INVALID_FIELD',
      'settlements[1].offsets',
    );
    refused(() => settle({ offsets }), 'INVALID_FIELD', 'settlements[0].outcome');
    refused(
      () => settle({ offsets, outcome: { case: 'extend', value: {} } }),
      'INVALID_FIELD',
      'settlements[0].extend.by',
    );
    refused(
      () => settle({ offsets, outcome: { case: 'nack', value: negative } }),
      'INVALID_FIELD',
      'settlements[0].nack.delay',
    );
    const many = Array.from({ length: limits.maxSettlementsPerRequest + 1 }, () => ({
      offsets,
      outcome: ack,
    }));
    refused(() => settle(...many), 'INVALID_FIELD', 'settlements');
  });
});

describe('credit', () => {
  it('keeps what is absent apart from what is zero', () => {
    assert.deepEqual(toCredit(undefined), {});
    assert.deepEqual(toCredit(create(FlowControlSchema, { maxOutstandingMessages: 0 })), { messages: 0 });
    assert.deepEqual(toCredit(create(FlowControlSchema, { maxOutstandingBytes: 2n ** 64n - 1n })), {
      bytes: Number.MAX_SAFE_INTEGER,
    });
  });

  it('says endless credit as the largest number', () => {
    const endless = { messages: Number.POSITIVE_INFINITY, bytes: Number.POSITIVE_INFINITY };
    assert.deepEqual(fromCredit(endless), {
      maxOutstandingMessages: 0xffff_ffff,
      maxOutstandingBytes: BigInt(Number.MAX_SAFE_INTEGER),
    });
  });
});

describe('topics', () => {
  const full = {
    name: 'orders',
    partitionCount: 4,
    retention: {
      maxAge: toDuration(60_000),
      maxBytes: 5n,
      untilAcknowledged: true,
      dropUnacknowledged: true,
    },
    backlogLimit: { maxBytes: 6n, maxMessages: 7n, whenFull: BacklogLimit_WhenFull.REJECT },
    durability: Durability.WRITTEN,
  };
  const fullConfig = {
    name: 'orders',
    partitionCount: 4,
    retention: { maxAgeMs: 60_000, maxBytes: 5, untilAcknowledged: true, dropUnacknowledged: true },
    backlogLimit: { maxBytes: 6, maxMessages: 7, whenFull: 'reject' },
    durability: 'written',
  } as const;

  it('go in and out whole', () => {
    const config = toTopic(create(TopicSchema, full));
    assert.deepEqual(config, fullConfig);
    const info = { config: { ...config, createTimeMs: 1000 }, partitions: [] };
    assert.deepEqual(toTopic(create(TopicSchema, fromTopic(info))), fullConfig);
  });

  it('have defaults', () => {
    const none = { maxAgeMs: 0, maxBytes: 0, untilAcknowledged: false, dropUnacknowledged: false };
    assert.deepEqual(toTopic(create(TopicSchema, { name: 'a' })), {
      name: 'a',
      partitionCount: 1,
      retention: none,
      backlogLimit: { maxBytes: 0, maxMessages: 0, whenFull: 'block' },
      durability: undefined,
    });
  });

  it('are refused where a field is out of range', () => {
    const refusal = (init: MessageInitShape<typeof TopicSchema>, field: string) =>
      refused(() => toTopic(create(TopicSchema, { name: 'a', ...init })), 'INVALID_FIELD', field);
    refusal({ retention: { maxBytes: 2n ** 63n } }, 'topic.retention.max_bytes');
    refusal({ retention: { maxAge: { seconds: -1n } } }, 'topic.retention.max_age');
    refusal({ backlogLimit: { whenFull: 9 as BacklogLimit_WhenFull } }, 'topic.backlog_limit.when_full');
    refusal({ durability: 9 as Durability }, 'topic.durability');
    refused(() => toTopic(create(CreateTopicRequestSchema).topic), 'INVALID_FIELD', 'topic');
  });

  it('change in what the mask names, or without one in what is set', () => {
    const change = (topic: MessageInitShape<typeof TopicSchema>, ...paths: string[]) =>
      toTopicChange(
        create(UpdateTopicRequestSchema, { topic: { name: 'a', ...topic }, updateMask: { paths } }),
      ).change;
    assert.deepEqual(change({ partitionCount: 3 }), { partitionCount: 3 });
    assert.deepEqual(change({ partitionCount: 3, durability: Durability.SYNCED }, 'durability'), {
      durability: 'synced',
    });
    assert.deepEqual(change({}, 'durability'), { durability: undefined });
    const { name, ...changeable } = fullConfig;
    assert.equal(name, full.name);
    assert.deepEqual(change({ ...full, name: 'a' }, '*'), changeable);
    for (const path of ['name', 'create_time', 'partitions', 'nonsense', '', 'partitionCount']) {
      refused(() => change({}, path), 'INVALID_UPDATE_MASK', 'update_mask');
    }
  });
});

describe('subscriptions', () => {
  const full = {
    topic: 'orders',
    name: 'billing',
    ordering: Ordering.KEY,
    ackDeadline: toDuration(5000),
    retry: { minBackoff: toDuration(10), maxBackoff: toDuration(1000) },
    deadLetter: { maxAttempts: 3, topic: 'graveyard', disabled: true },
  };
  const fullConfig = {
    topic: 'orders',
    name: 'billing',
    ordering: 'key',
    ackDeadlineMs: 5000,
    minBackoffMs: 10,
    maxBackoffMs: 1000,
    deadLetter: { maxAttempts: 3, topic: 'graveyard', isDisabled: true },
  } as const;

  it('go in and out whole', () => {
    const config = toSubscription(create(SubscriptionSchema, full));
    assert.deepEqual(config, fullConfig);
    const info = { config: { ...config, createTimeMs: 1000 }, partitions: [] };
    assert.deepEqual(toSubscription(create(SubscriptionSchema, fromSubscription(info))), fullConfig);
  });

  it('are refused where a field is out of range', () => {
    const refusal = (init: MessageInitShape<typeof SubscriptionSchema>, field: string) =>
      refused(
        () => toSubscription(create(SubscriptionSchema, { topic: 't', name: 'n', ...init })),
        'INVALID_FIELD',
        `subscription.${field}`,
      );
    refusal({ ordering: 9 as Ordering }, 'ordering');
    refusal({ ackDeadline: { seconds: -1n } }, 'ack_deadline');
    refusal({ retry: { maxBackoff: { nanos: -1 } } }, 'retry.max_backoff');
  });

  it('change in everything but their ordering', () => {
    const change = (init: MessageInitShape<typeof SubscriptionSchema>, ...paths: string[]) =>
      toSubscriptionChange(
        create(UpdateSubscriptionRequestSchema, {
          subscription: { topic: 't', name: 'n', ...init },
          updateMask: { paths },
        }),
        () => 'key',
      ).change;
    assert.deepEqual(change({ ackDeadline: toDuration(200) }), { ackDeadlineMs: 200 });
    const { topic: _topic, name: _name, ordering: _ordering, ...changeable } = fullConfig;
    assert.deepEqual(change({ ...full, topic: 't', name: 'n' }), changeable);
    assert.deepEqual(change({}, 'retry'), { minBackoffMs: 0, maxBackoffMs: 0 });
    refused(() => change({ ordering: Ordering.NONE }), 'INVALID_UPDATE_MASK', 'update_mask');
    refused(() => change({}, 'ordering'), 'INVALID_UPDATE_MASK', 'update_mask');
  });
});

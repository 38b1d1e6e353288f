import assert from 'node:assert/strict';
import { judgeAccepted } from './accepted.js';
import { type Acknowledged, nothingAcknowledged } from './acknowledged.js';
import { judge, type ViolationKind } from './judge.js';
import type { Answer, Drained, Life, Loss, Observation } from './observation.js';
import { ended } from './run.js';

/** Each check must bite, or the damage runs prove nothing. */
describe('judge of damaged stores', () => {
  it('lets a whole store pass', () => {
    assert.deepEqual(judge(list(), [served(), served({}, drainedWhole)]), {
      outcome: 'whole',
      violations: [],
    });
  });

  it('lets a refusal pass that says the same at each start', () => {
    assert.equal(judge(list(), [refused, refused]).outcome, 'refused');
  });

  it('lets losses pass that are named, and passed over by the subscription', () => {
    const observation = observe({ readings: [reading([0, 1, 3], [loss(2, 2)])] });
    const drained = { ...drainedWhole, deliveries: [delivery(1, 3), delivery(3)], losses: [loss(2, 2)] };
    const lives = [
      { kind: 'served', observation },
      { kind: 'served', observation, drained: [drained] },
    ] as const;
    assert.deepEqual(judge(list(), lives), { outcome: 'served with losses', violations: [] });
  });

  it('lets a loss pass that a compaction finds later, with its table and for good', () => {
    const later: Life = {
      kind: 'refused',
      reason: 'DATA_LOSS',
      text: 'db/000012.sst can no longer be read: DATA_LOSS',
    };
    assert.equal(judge(list(), [served(), later, later]).outcome, 'refused');
    assertFinds('inconsistent', /start 3 serves/, [served(), later, served()]);
  });

  it('finds other bytes in a read, in a delivery and in a message that was looked up', () => {
    const altered = reading([0, 1, 2, 3]).messages.map(([at]) => [at, at === 1 ? 'x' : `d${at}`] as const);
    assertFinds('altered', /read of t\/0 from 0: 1/, [
      served({ readings: [{ ...reading([]), messages: altered }] }),
    ]);
    const deliveries = [{ ...delivery(1, 3), digest: 'x' }, delivery(2), delivery(3)];
    assertFinds('altered', /0\/1 was delivered/, [served({}, { ...drainedWhole, deliveries })]);
    const message = { digest: 'x', statuses: { s: 'DONE 0' } };
    assertFinds('altered', /message t\/0\/0/, [served({ messages: { 't/0/0': said(message) } })]);
  });

  it('finds a message that is missing in silence', () => {
    assertFinds('missing', /2 is not there/, [served({ readings: [reading([0, 1, 3])] })]);
    assertFinds('missing', /3 is not there/, [served({ readings: [reading([0, 1, 2])] })]);
    const deliveries = [delivery(1, 3), delivery(2)];
    assertFinds('missing', /0\/3 was never delivered/, [served({}, { ...drainedWhole, deliveries })]);
  });

  it('finds a topic, a subscription, a producer and dead letters that are missing or changed', () => {
    assertFinds('missing', /list of topics/, [served({ topicNames: said([]) })]);
    assertFinds('missing', /list of subscriptions/, [served({ subscriptionNames: said([]) })]);
    assertFinds('missing', /topic t: TOPIC_NOT_FOUND/, [served({ topics: { t: notFound('TOPIC') } })]);
    const extents = [{ firstOffset: 0, nextOffset: 3 }];
    assertFinds('missing', /topic t/, [served({ topics: { t: said({ config: 'c', extents }) } })]);
    assertFinds('missing', /topic t/, [
      served({ topics: { t: said({ config: 'other', extents: [{ firstOffset: 0, nextOffset: 4 }] }) } }),
    ]);
    assertFinds('missing', /producer t\/p/, [served({ producers: { 't/p': notFound('PRODUCER') } })]);
    const producer = said({ epoch: 2, lastSequence: 8 });
    assertFinds('missing', /producer t\/p/, [served({ producers: { 't/p': producer } })]);
    assertFinds('missing', /redrivable/, [served({ redrives: { 't/s': said(0) } })]);
    const message = { digest: 'd1', statuses: { s: 'PENDING 1' } };
    assertFinds('missing', /message t\/0\/1/, [served({ messages: { 't/0/1': said(message) } })]);
  });

  it('finds what is there again, or never was', () => {
    assertFinds('invented', /list of topics/, [served({ topicNames: said(['gone', 't']) })]);
    const messages = [0, 1, 2, 3, 4].map((at) => [at, `d${at}`] as const);
    assertFinds('invented', /4 was never stored/, [served({ readings: [{ ...reading([]), messages }] })]);
    const twice = [...reading([0, 1, 2, 3]).messages, [3, 'd3'] as const];
    assertFinds('invented', /3 behind 3/, [served({ readings: [{ ...reading([]), messages: twice }] })]);
  });

  it('finds settled messages that are due again', () => {
    const partitions = [{ backlog: 4, deadLetters: 1 }];
    const answer = said({ config: 'c', partitions });
    assertFinds('settled again', /subscription t\/s/, [served({ subscriptions: { 't/s': answer } })]);
    const deliveries = [delivery(0), ...drainedWhole.deliveries];
    assertFinds('settled again', /0\/0 was settled/, [served({}, { ...drainedWhole, deliveries })]);
  });

  it('finds failed attempts that are forgotten', () => {
    const deliveries = [delivery(1), delivery(2), delivery(3)];
    assertFinds('missing', /attempt 1 and failed 2 times/, [served({}, { ...drainedWhole, deliveries })]);
  });

  it('finds losses without a name, and losses of what a read brings', () => {
    const text = 'something is damaged';
    assertFinds('untyped', /without a name/, [served({ topicNames: { kind: 'lost', loss: { text } } })]);
    assertFinds('inconsistent', /1 came and was named as lost/, [
      served({ readings: [reading([0, 1, 2, 3], [loss(1, 2)])] }),
    ]);
    const lost: Answer<never> = { kind: 'lost', loss: loss(1, 1) };
    assertFinds('inconsistent', /message t\/0\/1 is lost/, [served({ messages: { 't/0/1': lost } })]);
    assertFinds('inconsistent', /t\/0\/2 is lost, and a read brings it/, [
      served({}, { ...drainedWhole, losses: [loss(2, 2)] }),
    ]);
  });

  it('finds more named as lost than the damage can have hit', () => {
    const lives = [served({ readings: [reading([0], [loss(1, 3)])] })];
    assert.equal(judge(list(), lives, { maxLostBytes: 30 }).outcome, 'served with losses');
    const { violations } = judge(list(), lives, { maxLostBytes: 29 });
    assert.deepEqual(
      violations.map(({ kind }) => kind),
      ['overclaimed'],
    );
  });

  it('finds a refusal or a loss where nothing is damaged', () => {
    for (const lives of [[refused, refused], [served({ readings: [reading([0, 1, 3], [loss(2, 2)])] })]]) {
      const { violations } = judge(list(), lives, { mustBeWhole: true });
      assert.deepEqual(
        violations.map(({ kind }) => kind),
        ['overclaimed'],
      );
    }
    assert.equal(judge(list(), [served()], { mustBeWhole: true }).outcome, 'whole');
  });

  it('finds errors that are no DATA_LOSS', () => {
    const failed: Answer<never> = { kind: 'failed', text: 'INTERNAL: unexpected' };
    assertFinds('untyped', /INTERNAL/, [served({ topicNames: failed })]);
    assertFinds('untyped', /INTERNAL/, [served({ readings: [{ ...reading([0]), failure: failed.text }] })]);
    assertFinds('untyped', /INTERNAL/, [served({}, { ...drainedWhole, failure: failed.text })]);
  });

  it('finds a death, a hang, and starts that contradict each other', () => {
    assertFinds('died', /signal/, [{ kind: 'died', text: 'signal SIGABRT' }]);
    assertFinds('hung', /the start/, [{ kind: 'hung', text: 'the start took too long' }]);
    assertFinds('inconsistent', /start 2 serves/, [refused, served()]);
    assertFinds('inconsistent', /the one before served/, [served(), refused]);
    assertFinds('inconsistent', /start 2 ended/, [
      refused,
      { kind: 'refused', reason: 'DATA_LOSS', text: 'topic t' },
    ]);
    const other = { readings: [reading([0, 1, 3], [loss(2, 2)])] };
    assertFinds('inconsistent', /start 2: readings/, [served(), served(other)]);
  });

  it('takes an end for a refusal only with a typed reason and a name', () => {
    const kindOf = (line: string, code: number | null = 1) =>
      ended({ code, signal: code === null ? 'SIGABRT' : null }, { logLines: ['serving', line, 'hint'] }).kind;
    assert.equal(kindOf('sluice: db/000012.sst is damaged (DATA_LOSS)'), 'refused');
    assert.equal(kindOf('sluice: db/000012.sst is damaged (DATA_LOSS)', 0), 'died');
    assert.equal(kindOf('sluice: db/000012.sst is damaged (DATA_LOSS)', null), 'died');
    assert.equal(kindOf('sluice: it is damaged (DATA_LOSS)'), 'died');
    assert.equal(kindOf('sluice: db/000012.sst: Corruption'), 'died');
    assert.equal(kindOf('sluice: /data is in use (DATA_DIRECTORY_IN_USE)'), 'died');
  });
});

/** Four messages in one partition: 0 is acknowledged, 1 failed twice, 2 and 3 are untouched. */
describe('judge of stores whose loss was accepted', () => {
  const ended = 'the database ends 3 changes before round 9. Start with --accept-data-loss';
  const extents = [{ firstOffset: 0, nextOffset: 3 }];
  const shorter = {
    topics: { t: said({ config: 'c', extents }) },
    producers: { 't/p': said({ epoch: 2, lastSequence: 8 }) },
    readings: [reading([0, 1, 2])],
  };
  const kindsOf = (refusal: string, lives: readonly Life[], lost: readonly string[] = []) => {
    const { violations } = judgeAccepted(list(), { refusal, lives, lost });
    return [...new Set(violations.map(({ kind }) => kind))];
  };

  it('lets the end of the history be missing where the refusal says so', () => {
    assert.deepEqual(kindsOf(ended, [served(shorter), served(shorter)]), []);
    assert.deepEqual(kindsOf('000012.sst is damaged', [served(shorter)]), ['missing']);
  });

  it('finds holes, other bytes, messages that come twice, and what was published and is lost', () => {
    assert.deepEqual(kindsOf(ended, [served({ ...shorter, readings: [reading([0, 2])] })]), ['missing']);
    const altered = { ...reading([]), messages: [[0, 'x'] as const] };
    assert(kindsOf(ended, [served({ ...shorter, readings: [altered] })]).includes('altered'));
    const twice = { ...shorter, readings: [reading([0, 1, 1, 2])] };
    assert.deepEqual(kindsOf(ended, [served(twice)]), ['invented']);
    assert.deepEqual(kindsOf(ended, [served(shorter)], ['t/0/3']), ['missing']);
  });

  it('finds a second start that serves something else, and one that is refused or dies', () => {
    assert(kindsOf(ended, [served(), served(shorter)]).includes('inconsistent'));
    assert.deepEqual(kindsOf(ended, [served(shorter), refused]), ['inconsistent']);
    assert.deepEqual(kindsOf(ended, [{ kind: 'died', text: 'code 1' }]), ['died']);
  });
});

function list(): Acknowledged {
  const acknowledged = nothingAcknowledged();
  const messages = new Map([0, 1, 2, 3].map((at) => [at, { digest: `d${at}`, byteLength: 10 }]));
  const partitions = [{ firstOffset: 0, nextOffset: 4, messages }];
  acknowledged.topics.set('t', { name: 't', config: 'c', partitions });
  const standing = { settled: new Set([0]), failed: new Map([[1, 2]]), deadLettered: new Map([[0, 1]]) };
  const subscription = { topic: 't', name: 's', config: 'c', standings: [standing], redrivable: 1 };
  acknowledged.subscriptions.set('t/s', subscription);
  acknowledged.producers.set('t/p', { topic: 't', producerId: 'p', epoch: 2, lastSequence: 9 });
  return acknowledged;
}

const refused: Life = {
  kind: 'refused',
  reason: 'SYNCED_DATA_MISSING',
  text: 'topic t (SYNCED_DATA_MISSING)',
};
const drainedWhole: Drained = {
  subscription: 't/s',
  deliveries: [delivery(1, 3), delivery(2), delivery(3)],
  losses: [],
};

function said<T>(value: T): Answer<T> {
  return { kind: 'said', value };
}

function notFound(what: string): Answer<never> {
  return { kind: 'failed', text: `${what}_NOT_FOUND: there is none` };
}

function loss(first: number, last: number): Loss {
  return { text: `topic 1, partition 0, offsets ${first} to ${last}`, partition: 0, first, last };
}

function delivery(offset: number, attempt = 1) {
  return { partition: 0, offset, digest: `d${offset}`, attempt };
}

function reading(offsets: readonly number[], losses: readonly Loss[] = []) {
  return {
    topic: 't',
    partition: 0,
    from: 0,
    messages: offsets.map((at) => [at, `d${at}`] as const),
    losses,
  };
}

/** What a broker says of a store where all is well, but for `changes`. */
function observe(changes: Partial<Observation> = {}): Observation {
  return {
    topicNames: said(['t']),
    subscriptionNames: said(['t/s']),
    topics: { t: said({ config: 'c', extents: [{ firstOffset: 0, nextOffset: 4 }] }) },
    subscriptions: { 't/s': said({ config: 'c', partitions: [{ backlog: 3, deadLetters: 1 }] }) },
    producers: { 't/p': said({ epoch: 2, lastSequence: 9 }) },
    messages: {
      't/0/0': said({ digest: 'd0', statuses: { s: 'FAILED 1' } }),
      't/0/1': said({ digest: 'd1', statuses: { s: 'PENDING 2' } }),
    },
    redrives: { 't/s': said(1) },
    readings: [reading([0, 1, 2, 3])],
    ...changes,
  };
}

function served(changes: Partial<Observation> = {}, drained?: Drained): Life {
  const life = { kind: 'served', observation: observe(changes) } as const;
  return drained === undefined ? life : { ...life, drained: [drained] };
}

function assertFinds(kind: ViolationKind, text: RegExp, lives: readonly Life[]): void {
  const { outcome, violations } = judge(list(), lives);
  assert.equal(outcome, 'failed');
  assert.ok(
    violations.some((violation) => violation.kind === kind && text.test(violation.text)),
    `no violation ${kind} ${text} among ${JSON.stringify(violations)}`,
  );
}

import assert from 'node:assert/strict';
import {
  checkNoDeadLetterCycle,
  type DeadLetterRoutes,
  deadLetterCycle,
  formatCycle,
  routesInCycles,
} from '../../../../src/broker/dead-letters/dead-letter-cycles.js';
import type { DeadLetterRoute } from '../../../../src/broker/dead-letters/dead-letter-topic.js';

/** `a/s>b`: subscription `s` of topic `a` has `b` as its dead-letter topic; without `>b` the default. */
function routes(...texts: string[]): DeadLetterRoute[] {
  return texts.map((text) => {
    const [, topic = '', name = '', target = ''] = /^(.*)\/(.*?)(?:>(.*))?$/.exec(text) ?? [];
    return { topic, name, deadLetter: { maxAttempts: 0, topic: target, isDisabled: false } };
  });
}

function among(existing: readonly DeadLetterRoute[]): DeadLetterRoutes {
  return { routesOf: (name) => existing.filter(({ topic }) => topic === name) };
}

function cycleOf(route: string, ...others: string[]): readonly string[] | undefined {
  const existing = routes(...others);
  return deadLetterCycle(routes(route)[0]!, among(existing));
}

describe('cycles of dead-letter topics', () => {
  it('are found over any number of topics and subscriptions', () => {
    assert.deepEqual(cycleOf('a/s>a'), ['a', 'a']);
    assert.deepEqual(cycleOf('a/s>b', 'b/s>a'), ['a', 'b', 'a']);
    assert.deepEqual(cycleOf('a/s>b', 'b/x>elsewhere', 'b/y>c', 'c/s>a'), ['a', 'b', 'c', 'a']);
    assert.deepEqual(cycleOf('a/s', 'a.s.dead-letter/t>a'), ['a', 'a.s.dead-letter', 'a'], 'a default name');
  });

  it('are not seen where there are none', () => {
    assert.equal(cycleOf('a/s'), undefined);
    assert.equal(cycleOf('a/s>b'), undefined, 'b does not exist');
    assert.equal(cycleOf('a/s>b', 'b/s>c', 'b/t>c', 'c/s>d'), undefined);
    assert.equal(cycleOf('a/s>b', 'a/other>c', 'c/s>a'), undefined, 'another subscription of the topic');
    assert.equal(cycleOf('a/s>b', 'b/s>c', 'c/s>b'), undefined, 'a cycle behind, which this is not part of');
  });

  it('are named in the refusal, long ones in part', () => {
    const chain = routes('b/s>c', 'c/s>d', 'd/s>e', 'e/s>f', 'f/s>a');
    const check = (route: string) => checkNoDeadLetterCycle(routes(route)[0]!, among(chain));
    assert.throws(() => check('a/s>b'), {
      reason: 'DEAD_LETTER_CYCLE',
      message: /"a" → "b" → "c" → "d" → … → "a"/,
    });
    assert.throws(() => check('a/s>a'), {
      reason: 'INVALID_FIELD',
      details: { subject: 'deadLetterTopic', metadata: { topic: 'a', subscription: 's' } },
    });
    assert.equal(formatCycle(['a', 'b', 'a']), '"a" → "b" → "a"');
  });

  it('are found among all subscriptions of a store, with nothing else', () => {
    const all = routes('a/s>b', 'b/s>a', 'b/t>z', 'c/s>a', 'd/s>d', 'e/s', 'x/s>y', 'y/s>z');
    const names = [...routesInCycles(all)].map(({ topic, name }) => `${topic}/${name}`);
    assert.deepEqual(names.sort(), ['a/s', 'b/s', 'd/s']);
  });

  it('takes no longer for each subscription of a long chain', () => {
    const chain = Array.from({ length: 50_000 }, (_, i) => `t${i}/s>t${i + 1}`);
    assert.equal(routesInCycles(routes(...chain)).size, 0);
    assert.equal(routesInCycles(routes(...chain, 't50000/s>t49999')).size, 2);
  });
});

import assert from 'node:assert/strict';
import type { Clock } from '../../../src/base/clock.js';
import { createLogger } from '../../../src/observe/logger.js';

const clock: Clock = {
  wallMs: () => Date.UTC(2026, 0, 2, 3, 4, 5, 678),
  monotonicMs: () => 0,
  after: () => ({ cancel() {} }),
};

function logTo(format: 'json' | 'pretty', level: 'debug' | 'info' = 'info') {
  const lines: string[] = [];
  const destination = { write: (line: string) => void lines.push(line) };
  return { lines, logger: createLogger({ level, format, hasColors: false, clock, destination }) };
}

describe('logger', () => {
  it('writes one JSON object a line, by the clock it was given', () => {
    const { lines, logger } = logTo('json');
    logger.info({ topic: 'orders', partition: 3 }, 'opened');
    assert.equal(lines.length, 1);
    assert.deepEqual(JSON.parse(lines[0]!), {
      level: 'info',
      time: '2026-01-02T03:04:05.678Z',
      topic: 'orders',
      partition: 3,
      message: 'opened',
    });
  });

  it('leaves out what is below the level', () => {
    const { lines, logger } = logTo('json');
    logger.debug({}, 'detail');
    logger.warn({}, 'careful');
    assert.equal(lines.length, 1);
  });

  it('keeps the cause and the stack of an error', () => {
    const { lines, logger } = logTo('json');
    logger.error({ error: new Error('outer', { cause: new Error('inner') }) }, 'failed');
    const { error } = JSON.parse(lines[0]!);
    assert.equal(error.message, 'outer');
    assert.equal(error.cause.message, 'inner');
    assert.match(error.stack, /logger\.test/);
  });

  it('writes columns for people, and quotes what would be ambiguous', () => {
    const { lines, logger } = logTo('pretty');
    logger.info({ topic: 'orders', peer: 'a b', count: 3 }, 'opened');
    assert.equal(lines[0], '03:04:05.678 INFO  opened  topic=orders peer="a b" count=3\n');
  });

  it('puts the stack of an error below its line', () => {
    const { lines, logger } = logTo('pretty');
    logger.error({ error: new Error('no space') }, 'write failed');
    const [head, ...stack] = lines[0]!.split('\n');
    assert.equal(head, '03:04:05.678 ERROR write failed  error="no space"');
    assert.match(stack[0]!, /^ {2}Error: no space$/);
  });
});

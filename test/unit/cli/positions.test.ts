import assert from 'node:assert/strict';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { StartPosition_Boundary } from '@sluice/client/api';
import fc from 'fast-check';
import { RangeSet, startPosition } from '../../../src/cli/positions.js';
import { ValueFault } from '../../../src/config/kinds.js';

describe('positions', () => {
  it('are read as people write them', () => {
    assert.deepEqual(startPosition.parse('latest').position, {
      case: 'boundary',
      value: StartPosition_Boundary.LATEST,
    });
    assert.deepEqual(startPosition.parse('offset:9007199254740993').position, {
      case: 'offset',
      value: 9007199254740993n,
    });
    assert.deepEqual(startPosition.parse('time:2026-01-02T00:00:00Z').position, {
      case: 'time',
      value: timestampFromMs(Date.UTC(2026, 0, 2)),
    });
    for (const text of ['', 'first', 'offset:', 'offset:-1', 'time:yesterday', '5']) {
      assert.throws(() => startPosition.parse(text), ValueFault, text);
    }
  });
});

describe('set of ranges', () => {
  it('holds every offset once, in as few ranges as there can be', () => {
    const range = fc.record({
      partition: fc.integer({ min: 0, max: 2 }),
      first: fc.bigInt({ min: 0n, max: 60n }),
      length: fc.bigInt({ min: 0n, max: 5n }),
    });
    fc.assert(
      fc.property(fc.array(range), (ranges) => {
        const set = new RangeSet();
        const expected = new Set<string>();
        for (const { partition, first, length } of ranges) {
          set.add(partition, first, first + length);
          for (let offset = first; offset <= first + length; offset++) expected.add(`${partition}:${offset}`);
        }
        const merged = set.take();
        const actual = merged.flatMap(({ partition, first, last }) =>
          Array.from({ length: Number(last - first) + 1 }, (_, i) => `${partition}:${first + BigInt(i)}`),
        );
        assert.deepEqual(actual.toSorted(), [...expected].toSorted());
        for (const [i, { partition, first }] of merged.entries()) {
          const before = merged[i - 1];
          if (before?.partition === partition) assert(first > before.last + 1n, 'ranges that touch');
        }
        assert(set.isEmpty);
      }),
    );
  });
});

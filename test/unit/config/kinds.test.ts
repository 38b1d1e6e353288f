import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  address,
  bytes,
  choice,
  count,
  duration,
  formatBytes,
  formatDuration,
  truth,
  ValueFault,
} from '../../../src/config/kinds.js';

describe('kinds of values', () => {
  it('reads sizes with binary, decimal and no units', () => {
    const cases: [string, number][] = [
      ['0', 0],
      ['4096', 4096],
      ['64KiB', 65_536],
      ['64 KiB', 65_536],
      ['1.5MiB', 1_572_864],
      ['2gib', 2_147_483_648],
      ['500kB', 500_000],
      ['3GB', 3_000_000_000],
    ];
    for (const [text, value] of cases) assert.equal(bytes().parse(text), value, text);
    for (const text of ['', 'MiB', '-1', '1e3', '64K', '1 2', '0x10']) {
      assert.throws(() => bytes().parse(text), ValueFault, text);
    }
  });

  it('reads durations, together too, and refuses a number without a unit', () => {
    const cases: [string, number][] = [
      ['0', 0],
      ['250ms', 250],
      ['30s', 30_000],
      ['1h30m', 5_400_000],
      ['7d', 604_800_000],
      ['1.5s', 1_500],
    ];
    for (const [text, valueMs] of cases) assert.equal(duration().parse(text), valueMs, text);
    for (const text of ['', '30', 's', '-1s', '5 m', '1w']) {
      assert.throws(() => duration().parse(text), ValueFault, text);
    }
  });

  it('keeps to the range, and says it in the same units', () => {
    const kind = bytes({ min: 1024, max: 1024 * 1024 });
    assert.throws(() => kind.parse('1023'), { message: 'at least 1KiB' });
    assert.throws(() => kind.parse('2MiB'), { message: 'at most 1MiB' });
    assert.throws(() => bytes({ max: 2 ** 31 - 1 }).parse('2GiB'), { message: 'at most 2147483647 bytes' });
    assert.throws(() => duration({ min: 100 }).parse('99ms'), { message: 'at least 100ms' });
    assert.throws(() => count({ min: 1 }).parse('0'), { message: 'at least 1' });
  });

  it('reads counts, choices and truth strictly', () => {
    assert.equal(count().parse('16'), 16);
    for (const text of ['', '1.0', '1e2', '+1', '９', '99999999999999999']) {
      assert.throws(() => count().parse(text), ValueFault, text);
    }
    assert.equal(choice(['synced', 'written']).parse('written'), 'written');
    assert.throws(() => choice(['synced', 'written']).parse('Synced'), { message: 'one of synced, written' });
    assert.equal(truth.parse('false'), false);
    assert.throws(() => truth.parse('yes'), ValueFault);
  });

  it('reads addresses', () => {
    for (const text of ['127.0.0.1:7070', '[::1]:0', 'broker.internal:65535']) {
      assert.equal(address.parse(text), text);
    }
    for (const text of ['', '7070', ':7070', '127.0.0.1', '::1:7070', 'a b:1', 'host:65536', 'http://x:1']) {
      assert.throws(() => address.parse(text), ValueFault, text);
    }
  });

  it('reads back the durations that it writes', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 40 }), (valueMs) => {
        assert.equal(duration().parse(formatDuration(valueMs)), valueMs);
      }),
    );
  });

  it('writes sizes in the largest unit that fits', () => {
    assert.equal(formatBytes(0), '0B');
    assert.equal(formatBytes(1536), '1.5KiB');
    assert.equal(formatBytes(64 * 1024 * 1024), '64MiB');
  });
});

import assert from 'node:assert/strict';
import { UsageError } from '../../../src/cli/exit.js';
import { type KeyOptions, keyOfLine } from '../../../src/cli/publish/line-to-message.js';

function keyed(line: string | Uint8Array, options: Partial<KeyOptions>): [string, string] {
  const find = keyOfLine({
    key: undefined,
    keySeparator: undefined,
    keyField: undefined,
    fieldSeparator: '\t',
    keyPrefixLength: undefined,
    ...options,
  });
  const { key, payload } = find(Buffer.from(line));
  return [Buffer.from(key).toString('latin1'), Buffer.from(payload).toString('latin1')];
}

describe('key of a line', () => {
  it('is empty unless asked for', () => {
    assert.deepEqual(keyed('a:b', {}), ['', 'a:b']);
  });

  it('is the same for all with --key', () => {
    assert.deepEqual(keyed('a:b', { key: 'k' }), ['k', 'a:b']);
  });

  it('stands before the separator, the payload behind it', () => {
    assert.deepEqual(keyed('a::b::c', { keySeparator: '::' }), ['a', 'b::c']);
    assert.deepEqual(keyed('::b', { keySeparator: '::' }), ['', 'b']);
    assert.deepEqual(keyed('none', { keySeparator: '::' }), ['', 'none']);
  });

  it('is one of the fields, the payload the whole line', () => {
    assert.deepEqual(keyed('a\tb\tc', { keyField: 1 }), ['a', 'a\tb\tc']);
    assert.deepEqual(keyed('a\tb\tc', { keyField: 3 }), ['c', 'a\tb\tc']);
    assert.deepEqual(keyed('a\tb\tc', { keyField: 4 }), ['', 'a\tb\tc']);
    assert.deepEqual(keyed('a, b', { keyField: 2, fieldSeparator: ', ' }), ['b', 'a, b']);
  });

  it('is the first characters, however many bytes they have', () => {
    const latin = (text: string) => Buffer.from(text).toString('latin1');
    assert.deepEqual(keyed('école', { keyPrefixLength: 1 }), [latin('é'), latin('école')]);
    assert.deepEqual(keyed('🙂🙂x', { keyPrefixLength: 2 }), [latin('🙂🙂'), latin('🙂🙂x')]);
    assert.deepEqual(keyed('ab', { keyPrefixLength: 9 }), ['ab', 'ab']);
    assert.deepEqual(keyed('', { keyPrefixLength: 1 }), ['', '']);
    assert.deepEqual(keyed(Uint8Array.of(0xff, 0xfe), { keyPrefixLength: 1 }), ['\xff', '\xff\xfe']);
  });

  it('is found in one way only', () => {
    assert.throws(() => keyed('a', { key: 'k', keyField: 1 }), UsageError);
  });
});

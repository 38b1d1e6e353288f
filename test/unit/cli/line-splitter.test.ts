import assert from 'node:assert/strict';
import fc from 'fast-check';
import { LineSplitter, LineTooLong } from '../../../src/cli/publish/line-splitter.js';

/** The lines of these chunks, as text in which every byte is one character. */
function split(chunks: readonly Uint8Array[], maxLineBytes = Number.POSITIVE_INFINITY): string[] {
  const splitter = new LineSplitter(maxLineBytes);
  const lines = chunks.flatMap((chunk) => splitter.push(chunk));
  const last = splitter.end();
  return [...lines, ...(last === undefined ? [] : [last])].map((line) =>
    Buffer.from(line).toString('latin1'),
  );
}

function bytes(...texts: string[]): Uint8Array[] {
  return texts.map((text) => Buffer.from(text, 'latin1'));
}

describe('line splitter', () => {
  it('ends a line at a line feed, and takes what is behind the last one', () => {
    assert.deepEqual(split(bytes('a\nb\n')), ['a', 'b']);
    assert.deepEqual(split(bytes('a\nb')), ['a', 'b']);
    assert.deepEqual(split(bytes('\n\na\n')), ['', '', 'a']);
    assert.deepEqual(split(bytes('')), []);
    assert.deepEqual(split([]), []);
  });

  it('keeps carriage returns: they are bytes of the line', () => {
    assert.deepEqual(split(bytes('a\r\nb\r', '\nc\r')), ['a\r', 'b\r', 'c\r']);
  });

  it('joins lines that span chunks, characters of several bytes among them', () => {
    const snowman = Buffer.from('☃☃\n☃');
    const single = [...snowman].map((byte) => Uint8Array.of(byte));
    assert.deepEqual(split(single), split([snowman]));
    assert.deepEqual(split(bytes('a', 'b', '', 'c\n', 'd')), ['abc', 'd']);
  });

  it('finds the same lines however the bytes are cut, and loses none', () => {
    const byte = fc.constantFrom(0x0a, 0x0d, 0x61, 0xe2, 0x98, 0x83, 0x00);
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 12 }).chain((a) => fc.array(byte).map((b) => [...a, ...b]))),
        (parts) => {
          const chunks = parts.map((part) => Uint8Array.from(part));
          const whole = Buffer.concat(chunks).toString('latin1');
          const expected = whole.split('\n');
          if (expected.at(-1) === '') expected.pop();
          assert.deepEqual(split(chunks), expected);
        },
      ),
    );
  });

  it('stops at a line that is too long, before it is whole', () => {
    assert.deepEqual(split(bytes('1234', '5\n12345'), 5), ['12345', '12345']);
    const splitter = new LineSplitter(5);
    splitter.push(Buffer.from('1234'));
    assert.throws(() => splitter.push(Buffer.from('56')), LineTooLong);
  });
});

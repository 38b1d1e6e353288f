import assert from 'node:assert/strict';
import { matchesOutput, parseWalk } from './walk.js';

describe('walk', () => {
  const page = [
    '```console',
    '$ not part of it',
    '```',
    '<!-- walk:begin -->',
    '```console',
    '$ echo a \\',
    '> b',
    'a b',
    '$ sleep 1 > log &',
    '```',
    'Text in between.',
    '<!-- walk:wait log is up -->',
    '```console',
    '$ cat log',
    'it is up',
    '```',
    '```sh',
    '$ another kind of block',
    '```',
    '<!-- walk:end -->',
    '```console',
    '$ not part of it either',
    '```',
  ].join('\n');

  it('takes commands, their output and what they wait for from the page', () => {
    assert.deepEqual(parseWalk(page), [
      { line: 6, command: 'echo a \\\nb', expectedLines: ['a b'], waits: [] },
      { line: 9, command: 'sleep 1 > log &', expectedLines: [], waits: [] },
      { line: 14, command: 'cat log', expectedLines: ['it is up'], waits: [{ file: 'log', text: 'is up' }] },
    ]);
  });

  it('compares output line by line', () => {
    assert.ok(matchesOutput(['a', 'b'], 'a\nb\n\n'));
    assert.ok(matchesOutput([], ''));
    assert.ok(!matchesOutput([], 'a\n'));
    assert.ok(!matchesOutput(['a'], ''));
    assert.ok(!matchesOutput(['a'], 'a\nb\n'));
    assert.ok(!matchesOutput(['a+'], 'aa\n'));
  });

  it('lets three dots stand for text in a line, and for lines', () => {
    assert.ok(matchesOutput(['{', '  "time": "..."', '}'], '{\n  "time": "12:00"\n}\n'));
    assert.ok(matchesOutput(['{', '...', '}'], '{\n  1\n  2\n}\n'));
    assert.ok(matchesOutput(['...', '}'], '}\n'));
    assert.ok(!matchesOutput(['{', '  "time": "..."', '}'], '{\n  "date": "12:00"\n}\n'));
    assert.ok(!matchesOutput(['...', 'b'], 'a\nb\nc\n'));
  });
});

import assert from 'node:assert/strict';
import { messageFormat } from '../../../src/cli/consume/message-format.js';
import { escapedBytes } from '../../../src/cli/escapes.js';
import { ValueFault } from '../../../src/config/kinds.js';
import { runCli } from './cli-run.js';

const parse = (text: string) => Buffer.from(escapedBytes.parse(text)).toString('latin1');

describe('escapes on the command line', () => {
  it('stand for characters and bytes', () => {
    assert.equal(parse('\\t'), '\t');
    assert.equal(parse('a\\tb\\n\\0\\\\t'), 'a\tb\n\0\\t');
    assert.equal(parse('\\x1f\\xFF'), '\x1f\xff');
    assert.equal(parse('::'), '::');
    assert.equal(parse('ü'), Buffer.from('ü').toString('latin1'));
  });

  it('are refused where they do not exist', () => {
    for (const text of ['\\', 'a\\', '\\r', '\\x', '\\x1', '\\xgg', '\\\\\\']) {
      assert.throws(() => escapedBytes.parse(text), ValueFault, text);
    }
  });

  it('are shown in help as they are written', () => {
    assert.equal(escapedBytes.format(Buffer.from('\t')), '"\\t"');
    assert.equal(escapedBytes.format(Buffer.from('\0')), '"\\0"');
  });

  it('are usage errors of sluice publish', async () => {
    for (const flag of ['--key-separator', '--field-separator']) {
      const { exitCode, stderr } = await runCli(['publish', 't', flag, 'a\\q']);
      assert.equal(exitCode, 2);
      assert.match(stderr, new RegExp(`${flag} must be .*there is no \\\\q`));
    }
  });

  it('are bytes in a format, too', () => {
    const format = messageFormat.parse('{partition}\\0\\x1e\\q{offset}');
    const parts = format({ run: { partition: 3 }, offset: 5n } as never);
    const bytes = Buffer.concat(parts.map((part) => Buffer.from(part as string)));
    assert.equal(bytes.toString('latin1'), '3\0\x1e\\q5\n');
  });
});

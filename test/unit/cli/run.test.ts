import assert from 'node:assert/strict';
import { commands } from '../../../src/cli/commands.js';
import { toFlag } from '../../../src/cli/parameters.js';
import { describeSettings } from '../../../src/config/help.js';
import { runCli } from './cli-run.js';

describe('command line', () => {
  it('lists every command, and the exit codes', async () => {
    for (const argv of [[], ['--help'], ['help'], ['-h']]) {
      const { exitCode, stdout } = await runCli(argv);
      assert.equal(exitCode, 0, argv.join(' '));
      for (const { path } of commands) assert(stdout.includes(`  ${path} `), path);
      assert.match(stdout.toString(), /exit codes: 0 done/);
    }
  });

  it('says its version', async () => {
    assert.equal((await runCli(['--version'])).stdout.toString(), '1.2.3\n');
  });

  for (const command of commands) {
    it(`explains ${command.path}, with examples`, async () => {
      const { exitCode, stdout } = await runCli([...command.path.split(' '), '--help']);
      const help = stdout.toString();
      assert.equal(exitCode, 0);
      for (const name of Object.keys(command.parameters)) assert(help.includes(`--${toFlag(name)}`), name);
      assert(command.examples.length > 0);
      for (const example of command.examples) {
        assert(help.includes(example));
        assert(example.includes(`sluice ${command.path}`), example);
      }
      for (const line of help.split('\n')) assert(line.length <= 120, `too wide: ${line}`);
      const asked = await runCli(['help', ...command.path.split(' ')]);
      assert.equal(asked.stdout.toString(), help);
    });
  }

  it('explains every setting of serve', async () => {
    const help = (await runCli(['serve', '--help'])).stdout.toString();
    for (const { flag, variable } of describeSettings()) {
      assert(help.includes(`--${flag} `), flag);
      assert(help.includes(variable), variable);
    }
  });

  it('lists the commands of a group', async () => {
    const { exitCode, stdout } = await runCli(['topic']);
    assert.equal(exitCode, 0);
    assert(stdout.includes('topic create'));
    assert(!stdout.includes('subscribe '));
  });

  const wrong: [string, RegExp][] = [
    ['pubish x', /unknown command "pubish": did you mean sluice publish\?/],
    ['topic lst', /unknown command "topic lst": did you mean sluice topic list\?/],
    ['--frob', /unknown command "--frob"/],
    ['publish', /<topic> is missing/],
    ['publish a b', /unexpected argument "b"/],
    ['publish a --batch-sise 5', /unknown flag --batch-sise: did you mean --batch-size\?/],
    ['publish a --batch-size', /--batch-size needs a value/],
    ['publish a --key --json', /--key needs a value/],
    ['publish a --batch-size five', /--batch-size must be a whole number; it is "five"/],
    ['publish a --json=yes', /--json takes no value/],
    ['publish a --resume', /--resume needs --producer-id/],
    ['publish a --key k --key-field 2', /choose one of/],
    ['subscribe a', /<subscription> is missing/],
    ['subscribe a b --no-ack --until-caught-up', /--no-ack/],
    ['subscribe a b --start noon', /--start must be earliest, latest/],
    ['message get a 0 x', /<offset> must be a whole number/],
    ['info --server nowhere', /--server must be host:port/],
    ['serve --lissten x:1', /--lissten is not a setting: did you mean --listen\?/],
    ['serve --max-streams', /--max-streams needs a value/],
    ['serve extra', /unexpected argument "extra"/],
  ];
  for (const [line, message] of wrong) {
    it(`refuses: sluice ${line}`, async () => {
      const { exitCode, stderr, stdout } = await runCli(line.split(' '));
      assert.equal(exitCode, 2);
      assert.match(stderr, message);
      assert.match(stderr, /^sluice: /);
      assert.match(stderr, /--help/);
      assert.equal(stdout.length, 0);
    });
  }

  it('takes operands as flags of their names too', async () => {
    const { stderr } = await runCli(['message', 'get', '--partition', '0', 'orders', 'x']);
    assert.match(stderr, /<offset> must be a whole number; it is "x"/);
  });

  it('refuses a wrong SLUICE_SERVER', async () => {
    const { exitCode, stderr } = await runCli(['info'], { env: { SLUICE_SERVER: 'nowhere' } });
    assert.equal(exitCode, 2);
    assert.match(stderr, /SLUICE_SERVER must be host:port/);
  });
});

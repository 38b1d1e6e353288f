import { suggest } from '../config/suggest.js';
import type { Command, Context } from './command.js';
import { describeFailure, ExitCode, UsageError } from './exit.js';
import { describeCommand, overview } from './help.js';
import { OutputClosed } from './output.js';

/** Finds and runs the command, and reports errors on stderr. Never throws. */
export async function run(
  commands: readonly Command[],
  argv: readonly string[],
  context: Context,
): Promise<ExitCode> {
  const command = findCommand(commands, argv);
  try {
    if (command === undefined) {
      await runWithoutCommand(commands, argv, context);
      return ExitCode.ok;
    }
    const rest = argv.slice(command.path.split(' ').length);
    if (asksForHelp(rest)) await context.stdout.write(describeCommand(command));
    else await command.run(rest, context);
    return ExitCode.ok;
  } catch (error) {
    return await report(error, command, context);
  }
}

async function report(error: unknown, command: Command | undefined, context: Context): Promise<ExitCode> {
  const { exitCode, lines } = describeFailure(error, command?.path ?? '');
  // The user interrupted the command: cancelled calls need no explanation.
  if (context.interrupted.aborted && command?.runsUntilInterrupted !== true) return ExitCode.interrupted;
  const [first, ...rest] = lines;
  if (first === undefined) return exitCode;
  try {
    await context.stderr.write([`sluice: ${first}\n`, ...rest.map((line) => `  ${line}\n`)].join(''));
  } catch (failure) {
    if (!(failure instanceof OutputClosed)) throw failure;
  }
  return exitCode;
}

function findCommand(commands: readonly Command[], argv: readonly string[]): Command | undefined {
  return commands.find(({ path }) => path.split(' ').every((word, i) => argv[i] === word));
}

/** `sluice`, `sluice --version`, `sluice help topic create`, `sluice topic`, and unknown commands. */
async function runWithoutCommand(
  commands: readonly Command[],
  argv: readonly string[],
  context: Context,
): Promise<void> {
  const words = argv.filter((word) => !word.startsWith('-'));
  if (argv[0] === '--version') {
    await context.stdout.line(context.version);
    return;
  }
  if (words[0] === 'help') {
    const command = findCommand(commands, words.slice(1));
    if (command !== undefined) {
      await context.stdout.write(describeCommand(command));
      return;
    }
    words.shift();
  }
  if (words.length === 0 && (argv.length === 0 || argv[0] === 'help' || asksForHelp(argv))) {
    await context.stdout.write(overview(commands, context.version));
    return;
  }
  const group = commands.filter(({ path }) => path.startsWith(`${words[0]} `));
  if (group.length > 0 && words.length === 1) {
    await context.stdout.write(overview(group, context.version));
    return;
  }
  const known = commands.flatMap(({ path }) => [path, path.split(' ')[0]!]);
  const typed = group.length > 0 ? words.slice(0, 2).join(' ') : (words[0] ?? argv[0] ?? '');
  throw new UsageError(`unknown command ${JSON.stringify(typed)}${suggest(typed, known, 'sluice ')}`);
}

function asksForHelp(argv: readonly string[]): boolean {
  return argv.includes('--help') || argv.includes('-h');
}

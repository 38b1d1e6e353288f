import { readFileSync } from 'node:fs';
import { onDefect } from '../../base/invariant.js';
import type { Logger } from '../../base/logger.js';
import { describeSettings } from '../../config/help.js';
import { truth } from '../../config/kinds.js';
import { loadSettings } from '../../config/load.js';
import type { Settings } from '../../config/schema.js';
import type { RunningNode } from '../../node/node.js';
import { stdoutDestination } from '../../observe/destination.js';
import { createLogger } from '../../observe/logger.js';
import type { Command, Context } from '../command.js';
import { ExitCode, isDataLoss, Reported, UsageError } from '../exit.js';
import { columns } from '../help.js';
import { lacksValue, tokensOf } from '../parameters.js';
import { welcome } from '../serve/welcome.js';

export const serve: Command = {
  path: 'serve',
  summary: 'Run a broker',
  notes: [
    'Every setting is a flag, a variable of the environment, or a key (the name of the flag) of a JSON file that ' +
      '--config or SLUICE_CONFIG names; a flag overrides the variable, the variable overrides the file.',
    'SIGTERM or SIGINT drains: requests under way are answered, then the broker ends with 0. A second signal ends it at once, ' +
      'with 130. Each step has a time limit: after about 30 seconds at most the broker has ended, with 1 if a step ' +
      'did not finish in time. It also ends with 1 if the store fails, so that a supervisor starts it again from ' +
      'what is on disk, with 65 if the data directory is damaged, and with 70 at once if it finds a defect of its ' +
      'own. These codes stay the same if a signal arrives meanwhile.',
  ],
  examples: [
    'sluice serve',
    'sluice serve --listen 0.0.0.0:7070 --data-dir /var/lib/sluice',
    'SLUICE_LOG_LEVEL=debug sluice serve --config sluice.json --max-message-bytes 4MiB',
  ],
  parameters: {},
  runsUntilInterrupted: true,
  extraHelp: () => {
    const rows = describeSettings().map(({ flag, placeholder, doc, variable, fallbackText }) => [
      `  --${flag} ${placeholder}`,
      `${doc} (default ${fallbackText}; ${variable})`,
    ]);
    return `settings:\n${columns([...rows, ['  --config <path>', 'JSON file of settings (SLUICE_CONFIG)']])}\n`;
  },
  async run(argv, context) {
    const settings = loadSettings({
      flags: parseFlags(argv),
      env: context.env,
      readFile: (path) => readFileSync(path, 'utf8'),
    });
    const isPretty =
      settings.logFormat === 'pretty' || (settings.logFormat === 'auto' && context.stdout.isTerminal);
    const logger = createLogger({
      level: settings.logLevel,
      format: isPretty ? 'pretty' : 'json',
      hasColors: context.stdout.isTerminal && context.env.NO_COLOR === undefined,
      clock: context.clock,
      destination: stdoutDestination(),
    });
    endOnDefects(logger);
    await serveUntilTold(settings, context, logger);
  },
};

/**
 * The only place that ends the process at a defect: a broken invariant, or an error that is not caught. It closes
 * nothing: the state in memory can't be trusted, and the next start begins from what is on disk.
 */
function endOnDefects(logger: Logger): void {
  const end = (defect: unknown): void => {
    logger.error(
      { error: defect },
      'a defect of the broker: ending at once, before anything wrong is stored',
    );
    process.exit(ExitCode.defect);
  };
  onDefect(end);
  // Node reports unhandled rejections here too.
  process.on('uncaughtException', end);
}

/** Serves until the process is asked to end, or the store has failed. */
async function serveUntilTold(settings: Settings, context: Context, logger: Logger): Promise<void> {
  const { clock, version, interrupted, stdout } = context;
  // The broker is loaded only here, so that all other commands start faster.
  const { startNode } = await import('../../node/node.js');
  const node = await startNode(settings, { version, clock, logger }).catch((error: unknown) => {
    if (isDataLoss(error)) {
      const { reason, message } = error;
      logger.error({ reason, damage: message }, 'not started: the data directory is damaged');
    }
    throw error;
  });
  logger.info(
    { address: node.address, version, dataDirectory: settings.dataDirectory, pid: process.pid },
    'serving',
  );
  if (stdout.isTerminal) await stdout.write(welcome(node.address, settings.dataDirectory, version));

  const told = new Promise<'told'>((resolve) => {
    if (interrupted.aborted) resolve('told');
    interrupted.addEventListener('abort', () => resolve('told'), { once: true });
  });
  const closed = told.then(async () => {
    logger.info({}, 'draining');
    return (await node.close()) ? ('closed' as const) : ('torn' as const);
  });
  const end = await Promise.race([closed, node.failed]);
  if (end === 'closed') {
    logger.info({}, 'ended');
    return;
  }
  if (end === 'torn') throw new Reported(ExitCode.failed);
  if (isDataLoss(end)) {
    const { reason, message } = end;
    logger.error({ reason, damage: message }, 'ending: the data directory is damaged');
    return await endWith(ExitCode.damaged, node);
  }
  logger.error({ cause: end.message }, 'ending, so that the next start begins from what is on disk');
  return await endWith(ExitCode.failed, node);
}

/** The store has failed: ends with this code, also if a second signal ends the process at once. */
async function endWith(exitCode: ExitCode, node: RunningNode): Promise<never> {
  process.exitCode = exitCode;
  await node.abandon();
  throw new Reported(exitCode);
}

/** The flags as given. The settings check their names. */
function parseFlags(argv: readonly string[]): Record<string, string> {
  const settings = describeSettings().map(
    ({ flag, placeholder }) => [flag, placeholder === truth.placeholder] as const,
  );
  const isSwitchByFlag = new Map([['config', false], ...settings]);
  const flags: Record<string, string> = {};
  let unknown: string | undefined;
  for (const token of tokensOf(argv, isSwitchByFlag)) {
    if (token.kind === 'positional') {
      // For `--colour red` the fault is the flag: the settings report it.
      if (unknown === undefined) throw unexpectedArgument(token.value);
      unknown = undefined;
    } else if (token.kind === 'option') {
      const { name, rawName, value = 'true' } = token;
      const isSwitch = isSwitchByFlag.get(name);
      unknown = isSwitch === undefined ? name : undefined;
      if (isSwitch === false && lacksValue(token)) throw new UsageError(`${rawName} needs a value`);
      flags[name] = value;
    }
  }
  return flags;
}

function unexpectedArgument(text: string): UsageError {
  return new UsageError(`unexpected argument ${JSON.stringify(text)}: write --name=value`);
}

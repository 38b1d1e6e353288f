import type { Command } from './command.js';
import { type Parameter, toFlag } from './parameters.js';

/** The list of commands. */
export function overview(commands: readonly Command[], version: string): string {
  return `sluice ${version}: a durable message broker that speaks gRPC

usage: sluice <command> [flags]

${columns(commands.map((command) => [`  ${command.path}`, command.summary]))}

  sluice <command> --help    flags and examples of one command
  sluice --version

The broker is the one of --server, else of SLUICE_SERVER, else 127.0.0.1:7070.

exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 broker not reachable or not ready, 65 damaged or foreign data directory, 70 defect of the broker, 130 interrupted
`;
}

/** The help of one command. */
export function describeCommand(command: Command): string {
  const operands = select(command, (parameter) => parameter.form === 'operand');
  const flags = select(command, (parameter) => parameter.form !== 'operand');
  const usage = operands.map(([, { isRequired, placeholder }]) =>
    isRequired ? placeholder : `[${placeholder.slice(1, -1)}]`,
  );
  const sections = [
    `${command.summary}\n`,
    `usage: ${['sluice', command.path, ...usage, '[flags]'].join(' ')}\n`,
    ...command.notes.map((note) => `${wrap(note)}\n`),
  ];
  if (operands.length > 0) {
    const rows = operands.map(([name, { placeholder, doc }]) => [
      `  ${placeholder}`,
      `${doc} (or --${toFlag(name)})`,
    ]);
    sections.push(`${columns(rows)}\n`);
  }
  if (flags.length > 0) {
    const rows = flags.map(([name, { placeholder, doc }]) => [
      `  --${toFlag(name)} ${placeholder}`.trimEnd(),
      doc,
    ]);
    sections.push(`flags:\n${columns(rows)}\n`);
  }
  if (command.extraHelp !== undefined) sections.push(command.extraHelp());
  sections.push(`examples:\n${command.examples.map((example) => `  ${example}`).join('\n')}\n`);
  return sections.join('\n');
}

function select(
  command: Command,
  predicate: (parameter: Parameter<unknown>) => boolean,
): [string, Parameter<unknown>][] {
  return Object.entries(command.parameters).filter(([, parameter]) => predicate(parameter));
}

/** Two columns, the first as wide as needed. A text that is too wide for it has its own line. */
export function columns(rows: readonly (readonly string[])[]): string {
  const widest = Math.min(38, Math.max(...rows.map(([left]) => left!.length)));
  const indent = ' '.repeat(widest + 2);
  return rows
    .map(([left, right]) => {
      const text = wrap(right!, 108 - indent.length).replaceAll('\n', `\n${indent}`);
      return left!.length > widest ? `${left}\n${indent}${text}` : `${left!.padEnd(widest)}  ${text}`;
    })
    .join('\n');
}

function wrap(text: string, width = 108): string {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  return [...lines, line].join('\n');
}

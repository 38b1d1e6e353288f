import { parseArgs } from 'node:util';
import { type Kind, ValueFault } from '../config/kinds.js';
import { suggest } from '../config/suggest.js';
import { UsageError } from './exit.js';

/** A parameter of a command: a flag, or an operand, which may also be given as a flag of its name. */
export interface Parameter<T> {
  readonly form: 'switch' | 'value' | 'list' | 'operand';
  readonly placeholder: string;
  readonly doc: string;
  readonly isRequired: boolean;
  /** `values` as given, in order; empty if there are none. */
  read(values: readonly string[]): T;
}

// biome-ignore lint/suspicious/noExplicitAny: a table of parameters has one of every type
export type Parameters = Readonly<Record<string, Parameter<any>>>;

export type ValuesOf<P extends Parameters> = {
  readonly [K in keyof P]: P[K] extends Parameter<infer T> ? T : never;
};

const readLast = <T>(kind: Kind<T>, values: readonly string[]): T | undefined => {
  const last = values.at(-1);
  return last === undefined ? undefined : kind.parse(last);
};

/** `--json` */
export function toggle(doc: string): Parameter<boolean> {
  return {
    form: 'switch',
    placeholder: '',
    doc,
    isRequired: false,
    read: (values) => values.length > 0,
  };
}

/** `--limit <n>`, optional. */
export function value<T>(kind: Kind<T>, doc: string): Parameter<T | undefined> {
  return {
    form: 'value',
    placeholder: kind.placeholder,
    doc,
    isRequired: false,
    read: (values) => readLast(kind, values),
  };
}

/** `--batch-size <n>`, with its default. */
export function valueOr<T>(kind: Kind<T>, fallback: NoInfer<T>, doc: string): Parameter<T> {
  return {
    form: 'value',
    placeholder: kind.placeholder,
    doc: `${doc} (default ${kind.format(fallback)})`,
    isRequired: false,
    read: (values) => readLast(kind, values) ?? fallback,
  };
}

/** `--header <name=value>`, repeatable. */
export function list<T>(kind: Kind<T>, doc: string): Parameter<readonly T[]> {
  return {
    form: 'list',
    placeholder: kind.placeholder,
    doc: `${doc}; may be repeated`,
    isRequired: false,
    read: (values) => values.map((given) => kind.parse(given)),
  };
}

/** `<topic>` */
export function operand<T>(kind: Kind<T>, doc: string): Parameter<T> {
  return {
    form: 'operand',
    placeholder: kind.placeholder,
    doc,
    isRequired: true,
    // The parser has refused a missing operand.
    read: (values) => readLast(kind, values) as T,
  };
}

/** `[topic]` */
export function optionalOperand<T>(kind: Kind<T>, doc: string): Parameter<T | undefined> {
  return { ...operand<T | undefined>(kind as Kind<T | undefined>, doc), isRequired: false };
}

/** `batchBytes` is `--batch-bytes`. */
export function toFlag(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** Parses a command line by its table. Throws a UsageError that names the fault. */
export function parseParameters<P extends Parameters>(parameters: P, argv: readonly string[]): ValuesOf<P> {
  const given = collect(parameters, argv);
  const values: Record<string, unknown> = {};
  for (const [name, parameter] of Object.entries(parameters)) {
    const texts = given.get(name) ?? [];
    if (parameter.isRequired && texts.length === 0) {
      throw new UsageError(`${parameter.placeholder} is missing: ${lowerFirst(parameter.doc)}`);
    }
    try {
      values[name] = parameter.read(texts);
    } catch (error) {
      if (!(error instanceof ValueFault)) throw error;
      const shown = parameter.form === 'operand' ? parameter.placeholder : `--${toFlag(name)}`;
      throw new UsageError(`${shown} must be ${error.message}; it is ${JSON.stringify(texts.at(-1))}`);
    }
  }
  return values as ValuesOf<P>;
}

/** What the arguments consist of. Flags that are not known are tokens, too. */
export function tokensOf(argv: readonly string[], isSwitchByFlag: Iterable<readonly [string, boolean]>) {
  const types = Array.from(isSwitchByFlag, ([flag, isSwitch]) => {
    return [flag, { type: isSwitch ? ('boolean' as const) : ('string' as const) }] as const;
  });
  return parseArgs({ args: [...argv], strict: false, tokens: true, options: Object.fromEntries(types) })
    .tokens;
}

/** `--topic --json`: the value is missing. A value that begins with dashes is written `--topic=--json`. */
export function lacksValue({
  value,
  inlineValue,
}: {
  readonly value: string | undefined;
  readonly inlineValue: boolean | undefined;
}): boolean {
  return value === undefined || (inlineValue !== true && value.startsWith('--'));
}

/** The texts that were given for each parameter. */
function collect(parameters: Parameters, argv: readonly string[]): Map<string, string[]> {
  const byFlag = new Map(Object.keys(parameters).map((name) => [toFlag(name), name]));
  const isSwitchByFlag = [...byFlag].map(
    ([flag, name]) => [flag, parameters[name]!.form === 'switch'] as const,
  );
  const given = new Map<string, string[]>();
  const add = (name: string, text: string) => given.set(name, [...(given.get(name) ?? []), text]);
  const positionals: string[] = [];
  for (const token of tokensOf(argv, isSwitchByFlag)) {
    if (token.kind === 'positional') positionals.push(token.value);
    if (token.kind !== 'option') continue;
    const name = byFlag.get(token.name);
    if (name === undefined) {
      throw new UsageError(`unknown flag ${token.rawName}${suggest(token.name, [...byFlag.keys()], '--')}`);
    }
    if (parameters[name]!.form === 'switch') {
      if (token.value !== undefined) throw new UsageError(`${token.rawName} takes no value`);
    } else if (lacksValue(token)) {
      throw new UsageError(`${token.rawName} needs a value: ${parameters[name]!.placeholder}`);
    }
    add(name, token.value ?? '');
  }
  assignOperands(parameters, given, positionals);
  return given;
}

/** Gives the arguments without a flag to the operands that have no value yet. */
function assignOperands(
  parameters: Parameters,
  given: Map<string, string[]>,
  positionals: readonly string[],
): void {
  const operands = Object.keys(parameters).filter((name) => parameters[name]!.form === 'operand');
  const free = operands.filter((name) => !given.has(name));
  for (const text of positionals) {
    const name = free.shift();
    if (name === undefined) throw new UsageError(`unexpected argument ${JSON.stringify(text)}`);
    given.set(name, [text]);
  }
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}

import type { Clock } from '../base/clock.js';
import type { Output } from './output.js';
import { type Parameters, parseParameters, type ValuesOf } from './parameters.js';

/** What a command needs from its environment. Tests pass their own. */
export interface Context {
  readonly stdin: AsyncIterable<Uint8Array>;
  readonly stdout: Output;
  readonly stderr: Output;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  /** The version of this program. */
  readonly version: string;
  /** Aborts when the user or the system asks the process to end. */
  readonly interrupted: AbortSignal;
}

export interface Command {
  /** The command as the user types it: `topic create`. */
  readonly path: string;
  /** One line for the list of commands. */
  readonly summary: string;
  /** Paragraphs of its help text. */
  readonly notes: readonly string[];
  /** Whole command lines. */
  readonly examples: readonly string[];
  readonly parameters: Parameters;
  /** Help beyond the parameters. */
  readonly extraHelp?: () => string;
  /** A signal is its usual end: its exit code is that of its work. Other commands end with 130 after a signal. */
  readonly runsUntilInterrupted?: boolean;
  /** Resolves when the command has done its work. Throws if it could not. */
  run(argv: readonly string[], context: Context): Promise<void>;
}

export interface CommandDefinition<P extends Parameters> {
  readonly path: string;
  readonly summary: string;
  readonly notes?: readonly string[];
  readonly examples: readonly string[];
  readonly parameters: P;
  readonly run: (values: ValuesOf<P>, context: Context) => Promise<void>;
}

export function defineCommand<P extends Parameters>(definition: CommandDefinition<P>): Command {
  return {
    notes: [],
    ...definition,
    run: async (argv, context) => definition.run(parseParameters(definition.parameters, argv), context),
  };
}

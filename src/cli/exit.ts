import { SluiceError as CallError, StatusCode } from '@sluice/client';
import { SluiceError as BrokerError } from '../base/errors.js';
import { OutputClosed } from './output.js';

/** Exit codes. `sluice --help` documents them. */
export const ExitCode = {
  ok: 0,
  /** The broker refused, or a file could not be read. */
  failed: 1,
  /** The command line is wrong: nothing was done. */
  usage: 2,
  /** The broker could not be reached, or is not ready. */
  unavailable: 3,
  /** A defect of the broker itself: it ended at once, before it could store anything wrong. EX_SOFTWARE. */
  defect: 70,
  /** The data directory is damaged, foreign or of a newer version: another start does not help. */
  damaged: 65,
  interrupted: 130,
} as const;

export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

/** The command line is wrong. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** No call reaches the broker. */
export class Unreachable extends Error {
  override readonly name = 'Unreachable';
  readonly reason: string;

  constructor(target: string, cause: string, error: CallError) {
    super(cause.includes(target) ? cause : `can't connect to ${target}: ${withoutJargon(cause)}`);
    this.reason = error.reason;
  }
}

/** A command did part of its work and has already reported that: only the exit code is left. */
export class Reported extends Error {
  override readonly name = 'Reported';
  readonly exitCode: ExitCode;

  constructor(exitCode: ExitCode) {
    super('reported');
    this.exitCode = exitCode;
  }
}

export interface Failure {
  readonly exitCode: ExitCode;
  /** Lines for stderr, the first with `sluice:` before it. */
  readonly lines: readonly string[];
}

/** Describes an error that a command threw: what is wrong, its reason, and what to do. */
export function describeFailure(thrown: unknown, commandPath: string): Failure {
  if (thrown instanceof OutputClosed) return { exitCode: ExitCode.ok, lines: [] };
  if (thrown instanceof Reported) return { exitCode: thrown.exitCode, lines: [] };
  if (thrown instanceof UsageError) {
    const help = commandPath === '' ? 'sluice --help' : `sluice ${commandPath} --help`;
    return { exitCode: ExitCode.usage, lines: [thrown.message, `see: ${help}`] };
  }
  if (thrown instanceof Unreachable) {
    const hint = tlsHints.find(([pattern]) => pattern.test(thrown.message))?.[1] ?? hints.UNAVAILABLE!;
    return { exitCode: ExitCode.unavailable, lines: [`${thrown.message} (${thrown.reason})`, hint] };
  }
  if (thrown instanceof CallError) return describeCallError(thrown);
  if (thrown instanceof BrokerError) return describeBrokerError(thrown);
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return { exitCode: ExitCode.failed, lines: [message] };
}

function describeCallError(error: CallError): Failure {
  const isUnavailable = error.code === StatusCode.UNAVAILABLE || error.code === StatusCode.DEADLINE_EXCEEDED;
  const lines = [`${describeMessage(error)} (${error.reason})`];
  for (const { field, description } of error.fieldViolations) {
    if (!error.message.includes(field)) lines.push(`${field}: ${description}`);
  }
  const hint = hints[error.reason];
  if (hint !== undefined) lines.push(hint);
  if (error.retryAfterMs !== undefined) lines.push(`the broker asks to wait ${error.retryAfterMs} ms before`);
  return { exitCode: isUnavailable ? ExitCode.unavailable : ExitCode.failed, lines };
}

/** The gRPC library hides the cause of a failed connection in a long text. */
function describeMessage({ reason, message }: CallError): string {
  const [cause] =
    /connect E[A-Z]+ \S+|getaddrinfo \S+ \S+|Name resolution failed for target \S+/.exec(message) ?? [];
  if (reason !== 'UNAVAILABLE') return message;
  if (cause !== undefined) return `can't reach the broker: ${cause.replace(/\.$/, '')}`;
  return /Connection dropped|ECONNRESET|EPIPE/.test(message)
    ? 'the connection to the broker was lost'
    : message;
}

function describeBrokerError(error: BrokerError): Failure {
  // Whether a port is in use is found only by listening: the setting itself is valid.
  const isUsage = error.reason === 'INVALID_SETTING' && error.details.cause === undefined;
  const [first, ...rest] = error.message.split('\n');
  const lines = [`${first} (${error.reason})`, ...rest];
  const hint = /EADDRINUSE/.test(error.message) ? portInUse : hints[error.reason];
  if (hint !== undefined) lines.push(hint);
  const isDamaged = unusableDirectory.has(error.reason) || isDataLoss(error);
  const otherCode = isDamaged ? ExitCode.damaged : ExitCode.failed;
  return { exitCode: isUsage ? ExitCode.usage : otherCode, lines };
}

/** Whether the data directory is damaged. A disk that fails to read may succeed at the next start. */
export function isDataLoss(error: unknown): error is BrokerError {
  return (
    error instanceof BrokerError && error.code === StatusCode.DATA_LOSS && error.reason !== 'READ_FAILED'
  );
}

/** Another start does not help. */
const unusableDirectory: ReadonlySet<string> = new Set(['DATA_DIRECTORY_FOREIGN', 'DATA_DIRECTORY_NEWER']);

const portInUse =
  'the address is in use; choose another one with --listen, or a free port with --listen 127.0.0.1:0';

/** Replaces Node's message about a certificate of another name by a plain one. */
function withoutJargon(cause: string): string {
  const [, host, names = ''] =
    /altnames: (?:Host|IP): (\S+?)\.? is not in the cert's (?:altnames|list): *(.*)$/.exec(cause) ?? [];
  if (host === undefined) return cause;
  return `the broker's certificate is not for ${host}${names === '' ? '' : `, but for ${names}`}`;
}

const tlsHints: readonly (readonly [RegExp, string])[] = [
  [/does not speak TLS/, 'leave out --tls and --tls-ca, or name a port that speaks TLS with --server'],
  [
    /speaks TLS, and/,
    'connect with --tls, or with --tls-ca <file> where its certificate is of an authority of your own',
  ],
  [/certificate is not for/, 'name the broker with --server as its certificate does'],
  [/not trusted: .*expired/, 'renew the certificate of the broker'],
  [/not trusted/, 'name the authority that issued the certificate of the broker with --tls-ca <file>'],
];

const hints: Readonly<Record<string, string>> = {
  UNAVAILABLE: 'is the broker running there? start one with `sluice serve`, or name another with --server',
  DEADLINE_EXCEEDED:
    'the broker did not answer in time: is it overloaded, or is something else listening there?',
  TOPIC_NOT_FOUND:
    'list the topics with `sluice topic list`, or create it with `sluice topic create <topic>`',
  AUTO_CREATE_DISABLED: 'create the topic first: `sluice topic create <topic>`',
  SUBSCRIPTION_NOT_FOUND: 'list the subscriptions with `sluice subscription list`',
  SEQUENCE_GAP: 'continue after the stored lines with --resume',
  PRODUCER_FENCED:
    'another process publishes as this producer now; when it has ended, continue with --resume',
  BACKLOG_FULL: 'a subscription has fallen behind: see which with `sluice subscription list <topic>`',
  INVALID_SETTING: 'every setting: `sluice serve --help`',
  DATA_DIRECTORY_IN_USE: 'another broker uses it; choose another directory with --data-dir',
  SYNCED_DATA_MISSING:
    'restore the directory from a backup, or start without the lost data: --accept-data-loss',
};

import { connect as connectTls } from 'node:tls';
import { type SluiceError, StatusCode } from './errors.js';

/** The state of the connection to a broker. */
export type ConnectionState =
  /** The client makes a connection. */
  | { readonly kind: 'connecting' }
  /** The broker answers. */
  | { readonly kind: 'ready' }
  /** The last attempt failed, or the connection was lost. */
  | {
      readonly kind: 'waiting';
      /** The cause as text, for example "nothing listens at HOST:PORT". */
      readonly cause: string;
      /** The error of the failed call, if a call failed. */
      readonly error: SluiceError | undefined;
      /** Time until the next attempt; undefined if the next call makes it. */
      readonly nextAttemptInMs: number | undefined;
    }
  /** The client is closed. */
  | { readonly kind: 'closed' };

const probeTimeoutMs = 2_000;

/** Derives the state of a connection from its calls and its channel, and reports it. */
export class ConnectionStates {
  readonly #target: string;
  readonly #hasTls: boolean;
  readonly #listener: ((state: ConnectionState) => void) | undefined;
  #state: ConnectionState | undefined;
  /** The result of the probe of the peer since the broker last answered. */
  #probed: Promise<string | undefined> | undefined;

  constructor(target: string, hasTls: boolean, listener: ((state: ConnectionState) => void) | undefined) {
    this.#target = target.replace(/^dns:(\/\/[^/]*\/)?/, '');
    this.#hasTls = hasTls;
    this.#listener = listener;
  }

  connecting(): void {
    this.#change({ kind: 'connecting' });
  }

  /** The channel is connected, or the broker has answered a call. */
  answered(): void {
    this.#probed = undefined;
    this.#change({ kind: 'ready' });
  }

  lost(): void {
    this.#wait(`the connection to ${this.#target} was lost`, undefined, undefined);
  }

  /** Why a call could not reach the broker; undefined if the connection is not the cause. */
  async causeOf(error: SluiceError): Promise<string | undefined> {
    if (!isOfConnection(error)) return undefined;
    const cause = causeOf(error.message, this.#target);
    return cause ?? (this.#isUnexplained(error) ? await probe(this.#target) : undefined);
  }

  /** Records a failed call; undefined if the client does not try the call again. */
  failed(error: SluiceError, nextAttemptInMs: number | undefined): void {
    if (this.#listener === undefined || !isOfConnection(error)) return;
    const cause = causeOf(error.message, this.#target);
    if (cause !== undefined) this.#wait(cause, error, nextAttemptInMs);
    else if (this.#isUnexplained(error)) void this.#probeAndWait(error, nextAttemptInMs);
    else this.#wait(error.message, error, nextAttemptInMs);
  }

  close(): void {
    this.#change({ kind: 'closed' });
  }

  /** A peer that closes the connection without sending anything may speak TLS. */
  #isUnexplained(error: SluiceError): boolean {
    return !this.#hasTls && /^No connection established/.test(error.message);
  }

  async #probeAndWait(error: SluiceError, nextAttemptInMs: number | undefined): Promise<void> {
    this.#probed ??= probe(this.#target);
    const probed = this.#probed;
    const cause = await probed;
    // The broker has answered meanwhile.
    if (this.#probed !== probed) return;
    this.#wait(cause ?? error.message, error, nextAttemptInMs);
  }

  #wait(cause: string, error: SluiceError | undefined, nextAttemptInMs: number | undefined): void {
    const last = this.#state;
    if (nextAttemptInMs === undefined && last?.kind === 'waiting' && last.cause === cause) return;
    this.#change({ kind: 'waiting', cause, error, nextAttemptInMs });
  }

  #change(state: ConnectionState): void {
    const last = this.#state?.kind;
    if (last === 'closed' || (last === state.kind && state.kind !== 'waiting')) return;
    this.#state = state;
    this.#listener?.(state);
  }
}

/** Reasons and codes that concern the connection, not one topic or one request. */
const reasonsOfConnection = new Set([
  'TOO_MANY_STREAMS',
  'TOO_MANY_OPENS',
  'TOO_MANY_CONNECTIONS',
  'RESOURCE_EXHAUSTED',
]);
const codesOfConnection = new Set<number>([
  StatusCode.UNAVAILABLE,
  StatusCode.DEADLINE_EXCEEDED,
  StatusCode.CANCELLED,
  StatusCode.UNKNOWN,
  StatusCode.INTERNAL,
]);

function isOfConnection({ code, reason }: SluiceError): boolean {
  return codesOfConnection.has(code) || reasonsOfConnection.has(reason);
}

/** Translates an error text of the library into a cause; undefined if the text has none. */
function causeOf(message: string, target: string): string | undefined {
  if (/ECONNREFUSED/.test(message)) return `nothing listens at ${target}`;
  if (/Name resolution failed|ENOTFOUND|EAI_AGAIN/.test(message)) {
    return `the name ${target.replace(/:\d+$/, '')} cannot be resolved`;
  }
  if (/wrong version number|packet length too long|record layer/i.test(message)) {
    return `the broker at ${target} does not speak TLS`;
  }
  const [, untrusted] =
    /Last error: (?:Error(?: \[\w+\])?: )?(.*certificate.*?)\.? Resolution note/is.exec(message) ?? [];
  if (untrusted !== undefined) return `the broker's certificate is not trusted: ${untrusted}`;
  if (/ETIMEDOUT|no answer within|Channel closed before call started|Deadline exceeded/i.test(message)) {
    return `${target} does not answer`;
  }
  if (/Connection dropped|ECONNRESET|EPIPE|Socket closed/.test(message) && !/No connection/.test(message)) {
    return `the connection to ${target} was lost`;
  }
  return undefined;
}

/** Probes whether a peer that does not speak plaintext HTTP/2 speaks TLS. */
function probe(target: string): Promise<string | undefined> {
  const [, host, port] = /^\[?(.*?)\]?:(\d+)$/.exec(target) ?? [];
  if (host === undefined) return Promise.resolve(undefined);
  return new Promise((resolve) => {
    // The probe sends no data, so the certificate does not matter.
    const socket = connectTls({ host, port: Number(port), rejectUnauthorized: false, ALPNProtocols: ['h2'] });
    const end = (cause: string | undefined) => {
      socket.destroy();
      resolve(cause);
    };
    socket.setTimeout(probeTimeoutMs, () => end(undefined));
    socket.once('error', () => end(undefined));
    socket.once('close', () => end(undefined));
    socket.once('secureConnect', () => end(`the broker at ${target} speaks TLS, and this client does not`));
  });
}

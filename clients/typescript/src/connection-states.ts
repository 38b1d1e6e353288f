import { connect as connectTls } from 'node:tls';
import { type SluiceError, StatusCode } from './errors.js';

/** What the connection to a broker is doing. */
export type ConnectionState =
  /** A connection is being made. */
  | { readonly kind: 'connecting' }
  /** The broker answers. */
  | { readonly kind: 'ready' }
  /** The last attempt failed, or the connection was lost. */
  | {
      readonly kind: 'waiting';
      /** In plain words. */
      readonly cause: string;
      /** What a call failed with, if one did. */
      readonly error: SluiceError | undefined;
      /** When the next attempt comes, in ms from now; undefined: with the next call. */
      readonly nextAttemptInMs: number | undefined;
    }
  /** The client is closed. */
  | { readonly kind: 'closed' };

const probeTimeoutMs = 2_000;

/** Reports the state of a connection as calls and the channel find it. */
export class ConnectionStates {
  readonly #target: string;
  readonly #hasTls: boolean;
  readonly #listener: ((state: ConnectionState) => void) | undefined;
  #state: ConnectionState | undefined;
  /** What a look at the peer has found since it last answered. */
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

  /** Why a call could not reach the broker, in plain words; undefined where the connection is not to blame. */
  async causeOf(error: SluiceError): Promise<string | undefined> {
    if (!isOfConnection(error)) return undefined;
    const cause = causeOf(error.message, this.#target);
    return cause ?? (this.#isUnexplained(error) ? await probe(this.#target) : undefined);
  }

  /** A call has failed; undefined: the call is not tried again. */
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

  /** A peer that ends the connection without a word may speak TLS. */
  #isUnexplained(error: SluiceError): boolean {
    return !this.#hasTls && /^No connection established/.test(error.message);
  }

  async #probeAndWait(error: SluiceError, nextAttemptInMs: number | undefined): Promise<void> {
    this.#probed ??= probe(this.#target);
    const probed = this.#probed;
    const cause = await probed;
    // It has answered meanwhile.
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

/** Reasons and codes that say something of the connection, and not of one topic or one request. */
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

/** In plain words, what the library says in its own; undefined where it does not say. */
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

/** Looks whether a peer that does not speak HTTP/2 in plaintext speaks TLS. */
function probe(target: string): Promise<string | undefined> {
  const [, host, port] = /^\[?(.*?)\]?:(\d+)$/.exec(target) ?? [];
  if (host === undefined) return Promise.resolve(undefined);
  return new Promise((resolve) => {
    // Nothing is sent over it: its certificate is of no concern.
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

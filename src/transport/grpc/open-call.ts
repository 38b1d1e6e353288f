import type { SluiceError } from '../../base/errors.js';
import type { ClientConnection } from './peers.js';
import type { StreamAccount } from './stream-answers.js';

/** A call that is open, as the `CallTable` sees it: a `DirectListener` or a `DelegatedCall`. */
export interface OpenCall {
  readonly kind: 'unary' | 'stream' | 'delegated';
  /** The address and port of the client. */
  readonly peer: string;
  /** Its one request has not arrived. */
  readonly isWaitingForRequest: boolean;
  /** Only for the table: what it keeps about the call. Undefined until the call is registered. */
  entry: CallEntry | undefined;
  /** The call must end with this error, once what is under way is answered. See `CallObserver.stop`. */
  stop(error: SluiceError): void;
}

/** What the table keeps about an open call. */
export interface CallEntry {
  readonly connection: ClientConnection;
  /** Since when the call waits for its request. */
  waitingSinceMs: number;
  /** For a stream: what it owes its client. */
  readonly owed: StreamAccount;
  /** For a unary call: bytes of its answer that have not left for the transport. */
  answerBytes: number;
  /** Bytes of its one request that count against the memory for requests. */
  requestBytes: number;
  /** For a unary call: the callback that waits for room for its answer. */
  waitingAnswer: (() => void) | undefined;
}

import { Metadata, type ServerInterceptingCallInterface, status as statusCode } from '@grpc/grpc-js';
import type { SluiceError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import type { Logger } from '../../base/logger.js';
import { frameOf } from './grpc-js/framing.js';
import type { ClientConnection } from './peers.js';
import { clientError, type StatusDetail, toStatus } from './status.js';
import type { StreamAccount } from './stream-answers.js';

/**
 * How a call ends: the server gave it a status; or its client did not wait for one and cancelled it, on a connection
 * that lives on; or its connection is lost.
 */
export type CallEnd = 'answered' | 'cancelled' | 'broke';

/**
 * The server's end of a gRPC call, without the object streams that grpc-js wraps around it. Those read ahead by 16
 * requests and tell neither how much waits nor when it has left; here a request is read when it is asked for, and a
 * response says when its bytes are with the transport.
 *
 * How: an interceptor is public API and is given the call underneath. Ours answers with a call whose `start` does
 * not start the handler that grpc-js made but our own listener. What this relies on, beyond the API, is checked by
 * `test/integration/server-direct-call.test.ts`:
 * - a handler's first step is `start` on the outermost call, from within the interceptor's event;
 * - `sendMessage` writes to the stream what `serializeMessage` makes of a message, and nothing else;
 * - of a call that is destroyed it hears, and is over, before the callbacks of its writes;
 * - faults that grpc-js finds by itself (too large, not decompressible, too late) end the call by its `sendStatus`.
 */
export class DirectCall {
  readonly #call: ServerInterceptingCallInterface;
  readonly #sendStatus: ServerInterceptingCallInterface['sendStatus'];
  readonly #logger: Logger;
  readonly #owner: CallOwner;
  #isReadWanted = false;
  #isReading = false;
  #isOver = false;

  constructor(call: ServerInterceptingCallInterface, logger: Logger, owner: CallOwner) {
    this.#call = call;
    this.#sendStatus = call.sendStatus.bind(call);
    this.#logger = logger;
    this.#owner = owner;
  }

  /** The call has a status, or the client is gone: what is sent from now on goes nowhere. */
  get isOver(): boolean {
    return this.#isOver;
  }

  get peer(): string {
    return this.#call.getPeer();
  }

  /** What a stream owes its client. */
  get owed(): StreamAccount {
    return this.#owner.owed;
  }

  /**
   * Asks for the next request, or the end of them. What has been received already is handed over from within;
   * asked for again from within that, it is this loop that turns, and the stack does not grow.
   */
  read(): void {
    this.#isReadWanted = true;
    if (this.#isReading) return;
    this.#isReading = true;
    try {
      while (this.#isReadWanted && !this.#isOver) {
        this.#isReadWanted = false;
        this.#call.startRead();
      }
    } finally {
      this.#isReading = false;
    }
  }

  /**
   * Begins in the next turn of the event loop what a request asks for, unless the call is over by then: a client that
   * resets its calls at once costs no more than the calls themselves.
   */
  nextTurn(begin: () => void): void {
    setImmediate(() => {
      if (this.#isOver) {
        this.#owner.broke();
        return;
      }
      try {
        begin();
      } catch (thrown) {
        this.fail(thrown);
      }
    });
  }

  /** For the one answer of a unary call: calls back when there is room for it; not at all where the call is over. */
  whenAnswerable(answer: () => void): void {
    this.#owner.whenAnswerable(() => {
      if (!this.#isOver) answer();
    });
  }

  /** As `send`, but of the one answer of a unary call; and the call ends well behind it. */
  answer(response: Buffer): void {
    if (this.#isOver) return;
    this.#owner.answering(response.length);
    this.send(response);
    this.finish();
  }

  /** Tells the client that the call was taken, before there is a response. */
  sendHeaders(): void {
    if (!this.#isOver) this.#call.sendMetadata(new Metadata());
  }

  /**
   * Sends one encoded response, which is copied: the caller may write over it. `written` is called when the bytes
   * have left for the transport. Where the stream breaks before it may be called or not; the call is over by then.
   */
  send(response: Buffer, written: () => void = ignore): void {
    if (!this.#isOver) this.#call.sendMessage(frameOf(response), written);
  }

  /** As `send`, and counts as owed until it has left. */
  sendOwed(response: Buffer, written: () => void = ignore): void {
    if (this.#isOver) return;
    const { owed } = this;
    const bytes = response.length + limits.answerOverheadBytes;
    owed.add(bytes);
    this.send(response, () => {
      owed.remove(bytes);
      written();
    });
  }

  /**
   * As `send`, but of a whole frame, prefix and all, which is not copied: nobody may write over it until `written`
   * is called, nor then where the call is over. It may have been destroyed with its connection while the socket was
   * still at work on the frame.
   */
  sendFramed(frame: Buffer, written: () => void): void {
    if (!this.#isOver) this.#call.sendMessage(frame, written);
  }

  /** Ends the call well, after what was sent. */
  finish(): void {
    this.#end({ code: statusCode.OK, details: '', metadata: null });
  }

  /** Ends the call with whatever was thrown, after what was sent. */
  fail(thrown: unknown, detail?: StatusDetail): void {
    if (!this.#isOver) this.#end(toStatus(this.clientError(thrown), detail));
  }

  /** What was thrown as the client may see it; see `status.ts`. */
  clientError(thrown: unknown): SluiceError {
    return clientError(thrown, this.#logger);
  }

  /** Only for `DirectListener`: the client has gone. */
  markOver(end: CallEnd): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#owner.ended(end);
  }

  /** Only for `DirectListener`: a status of grpc-js itself. A deadline is the client's own word, as a cancellation. */
  endAsGrpcDid(status: PartialStatusObject): void {
    this.#sendStatus(status);
    this.markOver(status.code === statusCode.DEADLINE_EXCEEDED ? 'cancelled' : 'answered');
  }

  #end(status: PartialStatusObject): void {
    if (this.#isOver) return;
    this.#sendStatus(status);
    this.markOver('answered');
  }
}

/** Who keeps account of a call. */
export interface CallOwner {
  /** Once, when there is a status or the client has gone. */
  ended(end: CallEnd): void;
  /** It is over, and nothing was begun. */
  broke(): void;
  whenAnswerable(answer: () => void): void;
  answering(bytes: number): void;
  readonly owed: StreamAccount;
}

export type PartialStatusObject = Parameters<ServerInterceptingCallInterface['sendStatus']>[0];

function ignore(): void {}

/** What happens to a call. Nothing is received unless `DirectCall.read` asked for it. */
export interface CallReceiver {
  /** The call has begun. First call: asks for the first request. */
  begin(): void;
  /** One request, still encoded; it belongs to the receiver. */
  request(bytes: Buffer): void;
  /** There are no more requests. */
  halfClose(): void;
  /** The call has to end with this error, once what is under way is answered: no more is read. */
  stop(error: SluiceError): void;
  /**
   * The call is over, by whichever side: what it held is to be let go. Last call, always made, and never from within
   * another. What was sent may still be on its way to a client that is slow to read.
   */
  over(end: CallEnd): void;
}

/** Makes the receiver of a call. */
export type OpenCall = (call: DirectCall) => CallReceiver;

export interface Route {
  readonly open: OpenCall;
  /** It may stay open for long: counts against the limit of streams. */
  readonly isStream: boolean;
  /** It takes one request, and the client's half is closed behind it: a call that does not bring it in time is given up. */
  readonly hasOneRequest: boolean;
  readonly longestRequestBytes: number;
}

/** A call that is open, as its table sees it. */
export interface OpenedCall {
  readonly kind: 'unary' | 'stream' | 'delegated';
  /** The address of the client, as `DirectCall.peer`. */
  readonly peer: string;
  /** Its one request has not come yet. */
  readonly isWaitingForRequest: boolean;
  /** Only for the table: what it keeps of the call once it is opened. */
  entry: CallEntry | undefined;
  /** As `CallReceiver.stop`. */
  stop(error: SluiceError): void;
}

/** What the table keeps of an open call. */
export interface CallEntry {
  readonly connection: ClientConnection;
  readonly openedAtMs: number;
  /** Of a stream: what it owes its client. */
  readonly owed: StreamAccount;
  /** Of a unary call: the bytes of its answer, until they have left. */
  answerBytes: number;
  /** Bytes of its one request that count against the memory for them. */
  requestBytes: number;
  /** Of a unary call: what waits until there is room for its answer. */
  waitingAnswer: (() => void) | undefined;
}

/** Which calls there may be, and which there are. */
export interface CallTable {
  /** Undefined for a service that is not ours. */
  route(path: string): Route | undefined;
  /** Notes a call until it is `closed`; throws where there is no room for it. */
  opened(call: OpenedCall): void;
  /** It was reset before anything was begun. */
  broke(call: OpenedCall): void;
  /** A request of so many bytes begins to arrive; throws where there is no memory for it. */
  receiving(call: OpenedCall, bytes: number): void;
  /** The request is not held any more. */
  letRequestGo(call: OpenedCall): void;
  /** Calls back when there is room for the answer of a unary call. */
  whenAnswerable(call: OpenedCall, answer: () => void): void;
  /** So many bytes of its answer are about to be sent. */
  answering(call: OpenedCall, bytes: number): void;
  /** So many of those have left, and the call goes on. */
  answerLeft(call: OpenedCall, bytes: number): void;
  /** The call has its status; what was sent may still be on its way to the client. */
  answered(call: OpenedCall): void;
  closed(call: OpenedCall): void;
}

import type { DescMessage } from '@bufbuild/protobuf';
import { Metadata, type ServerInterceptingCallInterface, status as statusCode } from '@grpc/grpc-js';
import type { Call, CallEnd, CallWindows, Encoded, ErrorDetail, StreamReceiver } from '../../api/call.js';
import { withPrefix } from '../../api/message-prefix.js';
import type { CallContext } from '../../base/call-context.js';
import type { SluiceError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import type { GuardedMethod } from '../guards/guard.js';
import type { ClientConnection } from './peers.js';
import { clientError, type ErrorServices, toStatus } from './status.js';
import type { StreamAccount } from './stream-answers.js';

/**
 * The server's end of a gRPC call, without the object streams that grpc-js wraps around it. Those read ahead by 16
 * requests, and report neither how much waits nor when it has left. Here a request is read when the receiver asks for it,
 * and a response reports when its bytes are with the transport.
 *
 * An interceptor is public API, and gets the underlying call. Our interceptor returns a call whose `start` starts our own
 * listener instead of the handler of grpc-js. `test/integration/server-direct-call.test.ts` checks what this relies on
 * beyond the API:
 * - a handler's first step is `start` on the outermost call, from within the interceptor's event;
 * - `sendMessage` writes to the stream what `serializeMessage` makes of a message, and nothing else;
 * - a destroyed call reports its end before the callbacks of its writes;
 * - faults that grpc-js finds itself (too large, not decompressible, too late) end the call by its `sendStatus`.
 */
export class DirectCall<O extends DescMessage = DescMessage> implements Call<O> {
  readonly #call: ServerInterceptingCallInterface;
  readonly #sendStatus: ServerInterceptingCallInterface['sendStatus'];
  readonly #services: ErrorServices;
  readonly #owner: CallOwner;
  #isReadWanted = false;
  #isReading = false;
  #isOver = false;

  constructor(call: ServerInterceptingCallInterface, services: ErrorServices, owner: CallOwner) {
    this.#call = call;
    this.#sendStatus = call.sendStatus.bind(call);
    this.#services = services;
    this.#owner = owner;
  }

  /** The call has a status, or the client is gone: later messages are dropped. */
  get isOver(): boolean {
    return this.#isOver;
  }

  get context(): CallContext {
    return this.#owner.context;
  }

  get windows(): CallWindows {
    return this.#owner.windows;
  }

  /** What the stream owes its client. */
  get owed(): StreamAccount {
    return this.#owner.owed;
  }

  /**
   * Asks for the next request, or the end of the requests. A request that has arrived already is passed on from
   * within this call. If it asks again, this loop continues, and the stack does not grow.
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
   * Starts the work of a request in the next turn of the event loop, unless the call has ended by then. So a
   * client that resets its calls at once causes no work beyond the calls themselves.
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

  /**
   * For the one answer of a unary call: calls back when there is room for it, and not at all if the call has
   * ended.
   */
  whenAnswerable(answer: () => void): void {
    this.#owner.whenAnswerable(() => {
      if (!this.#isOver) answer();
    });
  }

  /** Sends the one answer of a unary call, and ends the call with OK. */
  answer(response: Encoded<O>): void {
    if (this.#isOver) return;
    this.#owner.answering(response.length);
    this.send(response);
    this.finish();
  }

  /** Tells the client that the call was accepted, before there is a response. */
  sendHeaders(): void {
    if (!this.#isOver) this.#call.sendMetadata(new Metadata());
  }

  /**
   * Sends one encoded response. It is copied: the caller may reuse the buffer. Calls `written` when the bytes have
   * left for the transport. If the stream breaks before, `written` may or may not be called; the call has ended by
   * then.
   */
  send(response: Encoded<O>, written: () => void = ignore): void {
    if (!this.#isOver) this.#call.sendMessage(withPrefix(response), written);
  }

  /** Like `send`. The response counts as owed until it has left for the transport. */
  sendOwed(response: Encoded<O>, written: () => void = ignore): void {
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
   * Sends a whole frame, including its prefix, without a copy. The frame must not be changed until `written` is
   * called, and never if the call has ended: the connection may have been destroyed while the socket still uses
   * the frame.
   */
  sendFramed(frame: Uint8Array, written: () => void): void {
    if (!this.#isOver) this.#call.sendMessage(frame, written);
  }

  /** Ends the call with OK, after everything that was sent. */
  finish(): void {
    this.#end({ code: statusCode.OK, details: '', metadata: null });
  }

  /** Ends the call with an error, after everything that was sent. */
  fail(thrown: unknown, detail?: ErrorDetail): void {
    if (!this.#isOver) this.#end(toStatus(this.clientError(thrown), detail));
  }

  /** Converts what was thrown into the error for the client; see `status.ts`. */
  clientError(thrown: unknown): SluiceError {
    return clientError(thrown, this.#services, this.#owner.method.descriptor?.input);
  }

  /** Only for `DirectListener`: the client has gone. */
  markOver(end: CallEnd): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#owner.ended(end);
  }

  /**
   * Only for `DirectListener`: grpc-js ended the call. The client set the deadline, so an expired one counts as a
   * cancellation.
   */
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

/** Keeps account of a call. */
export interface CallOwner {
  /** Called once, when there is a status or the client has gone. */
  ended(end: CallEnd): void;
  /** The call has ended, and nothing was begun. */
  broke(): void;
  whenAnswerable(answer: () => void): void;
  answering(bytes: number): void;
  readonly method: GuardedMethod;
  readonly context: CallContext;
  readonly windows: CallWindows;
  readonly owed: StreamAccount;
}

export type PartialStatusObject = Parameters<ServerInterceptingCallInterface['sendStatus']>[0];

function ignore(): void {}

/** Creates the receiver of a call. */
export type OpenCall = (call: DirectCall) => StreamReceiver;

export interface Route {
  readonly method: GuardedMethod;
  readonly open: OpenCall;
  /** The call may stay open for long: counts against the limit of streams. */
  readonly isStream: boolean;
  /**
   * The call takes one request, and the client's half is closed behind it. A call whose request does not arrive in
   * time is given up.
   */
  readonly hasOneRequest: boolean;
  readonly longestRequestBytes: number;
}

/** A call that is open, as its table sees it. */
export interface OpenedCall {
  readonly kind: 'unary' | 'stream' | 'delegated';
  /** The address of the client, as `DirectCall.peer`. */
  readonly peer: string;
  /** Its one request has not arrived. */
  readonly isWaitingForRequest: boolean;
  /** Only for the table: its entry for the open call. */
  entry: CallEntry | undefined;
  /** See `CallReceiver.stop`. */
  stop(error: SluiceError): void;
}

/** The table's entry for an open call. */
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

/** Decides which calls may be opened, and knows the open ones. */
export interface CallTable {
  /** Undefined for a service of grpc-js. */
  route(path: string): Route | undefined;
  /** Registers a call until it is `closed`. Throws if there is no room for it. */
  opened(call: OpenedCall): void;
  /** The guards have allowed the call: the time limit for its request begins now. */
  awaitRequest(call: OpenedCall): void;
  /** The call was reset before anything was begun. */
  broke(call: OpenedCall): void;
  /** A request of this size begins to arrive. Throws if there is no memory for it. */
  receiving(call: OpenedCall, bytes: number): void;
  /** The request is no longer in memory. */
  letRequestGo(call: OpenedCall): void;
  /** Calls back when there is room for the answer of a unary call. */
  whenAnswerable(call: OpenedCall, answer: () => void): void;
  /** An answer of this size is about to be sent. */
  answering(call: OpenedCall, bytes: number): void;
  /** So many bytes of its answers have left for the transport, and the call goes on. */
  answerLeft(call: OpenedCall, bytes: number): void;
  /** The call has its status. Sent bytes may still be on the way to the client. */
  answered(call: OpenedCall): void;
  /** `isSent`: everything that was sent has left for the transport. */
  closed(call: OpenedCall, isSent: boolean): void;
}

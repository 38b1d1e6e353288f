import type { DescMessage } from '@bufbuild/protobuf';
import { Metadata, type ServerInterceptingCallInterface, status as statusCode } from '@grpc/grpc-js';
import type { Call, CallEnd, CallWindows, Encoded, ErrorDetail } from '../../api/call.js';
import { withPrefix } from '../../api/message-prefix.js';
import type { CallContext } from '../../base/call-context.js';
import type { SluiceError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import type { GuardedMethod } from '../guards/guard.js';
import { clientError, type ErrorServices, toStatus } from './status.js';
import type { StreamAccount } from './stream-answers.js';

/**
 * A gRPC call as its handler uses it: it asks for requests and sends responses. It does without the object streams that
 * grpc-js wraps around a call. Those read ahead by 16 requests, and report neither how much waits nor when it has left.
 * Here a request is read when the handler asks for it, and a response reports when its bytes are with the transport.
 *
 *     grpc-js ──── events of the call ────────→ DirectListener ──── requests ───→ StreamReceiver (the handler)
 *     grpc-js ←─── reads, responses, status ─── DirectCall ←─────── Call ──────── StreamReceiver
 *                                               DirectCall ──────── CallOwner ──→ DirectListener
 *                                               DirectListener ──── OpenCall ───→ CallTable (limits all calls)
 *
 * A DirectListener creates the DirectCall and owns it. They live as long as the call. A call of a service that a library
 * handles (health, reflection) is a DelegatedCall: it is an OpenCall, too, and has none of the other parts.
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

/** What a DirectCall needs of the DirectListener that owns it. */
export interface CallOwner {
  /** The call has a status, or the client has gone. Called once. */
  ended(end: CallEnd): void;
  /** The client has reset the call before its work began. */
  broke(): void;
  /** Calls back when there is room for the answer of the unary call. */
  whenAnswerable(answer: () => void): void;
  /** The answer of the unary call, of this size, is about to be sent. */
  answering(bytes: number): void;
  readonly method: GuardedMethod;
  readonly context: CallContext;
  readonly windows: CallWindows;
  readonly owed: StreamAccount;
}

export type PartialStatusObject = Parameters<ServerInterceptingCallInterface['sendStatus']>[0];

function ignore(): void {}

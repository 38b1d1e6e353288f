import type { DescMessage, MessageShape } from '@bufbuild/protobuf';
import type { CallContext } from '../base/call-context.js';
import type { SluiceError } from '../base/errors.js';

declare const messageType: unique symbol;

/** An encoded message of this type. Only the compiler knows the type; at run time these are bytes. */
export type Encoded<D extends DescMessage> = Uint8Array & { readonly [messageType]?: D };

/**
 * How a call ends: the server gave it a status; or the client cancelled it, on a connection that stays open; or its
 * connection is lost.
 */
export type CallEnd = 'answered' | 'cancelled' | 'broke';

/** One more detail of a failed call, beside those that every error has. */
export interface ErrorDetail<D extends DescMessage = DescMessage> {
  readonly schema: D;
  readonly message: MessageShape<D>;
}

/** The account of what a stream owes its client. */
export interface OwedBytes {
  /** The stream has used its part of the memory, and must not use more. */
  readonly isFull: boolean;
  /** A response is due, or waits for the transport. */
  add(bytes: number): void;
  /** A response has left for the transport. */
  remove(bytes: number): void;
  /** The stream is full and reads nothing: calls back once, when there is room again. */
  whenRoom(resume: () => void): void;
}

/** The receive windows of connections, by `CallContext.peer`. */
export interface CallWindows {
  /** A stream of a producer begins. Throws TOO_MANY_STREAMS if it could leave more bytes here than there is memory for. */
  enter(peer: string): void;
  leave(peer: string): void;
  /** A stream of a consumer begins to settle. It is never refused. */
  enterConsumer(peer: string): void;
  leaveConsumer(peer: string): void;
  /** The stream has taken a request of so many bytes: its window is in use. */
  read(peer: string, bytes: number): void;
}

/**
 * A streaming call, as its handler uses it. The responses are of type `O`. The transport implements it. The handler is a
 * receiver (below), and the transport calls it.
 */
export interface Call<O extends DescMessage = DescMessage> {
  readonly context: CallContext;
  /** The call has a status, or the client is gone: later responses are dropped. */
  readonly isOver: boolean;
  readonly owed: OwedBytes;
  readonly windows: CallWindows;

  /** Asks for the next request, or for the end of the requests. The receiver may get it before this call returns. */
  read(): void;
  /** Runs `begin` in the next turn of the event loop, unless the call has ended by then. */
  nextTurn(begin: () => void): void;
  /** Tells the client that the call was accepted, before there is a response. */
  sendHeaders(): void;
  /**
   * Sends one response. It is copied: the caller may reuse the buffer. Calls `written` when the bytes have left for the
   * transport. If the stream breaks before, `written` may or may not be called; the call has ended by then.
   */
  send(response: Encoded<O>, written?: () => void): void;
  /** Like `send`. The response counts as owed until it has left. */
  sendOwed(response: Encoded<O>, written?: () => void): void;
  /**
   * Like `send`, for one or more responses, each with its prefix (`message-prefix.ts`). The bytes are not copied. They
   * must not change before `written` is called, and never if the call has ended.
   */
  sendFramed(frames: Uint8Array, written: () => void): void;
  /** Ends the call with OK, after what was sent. */
  finish(): void;
  /** Ends the call with an error, after what was sent. */
  fail(thrown: unknown, detail?: ErrorDetail): void;
  /** The error that the client may see. */
  clientError(thrown: unknown): SluiceError;
}

/** The part of a handler that ends with its call. */
export interface CallObserver {
  /** The call must end with this error, once what is under way is answered. No more requests come. */
  stop(error: SluiceError): void;
  /**
   * The call has ended, from either side: release what it holds. Always called once, as the last call, and never
   * from within another one. Sent bytes may still be on their way to a slow client.
   */
  over(end: CallEnd): void;
}

/** Receives the requests of a call whose client streams. Nothing is received unless `Call.read` asked for it. */
export interface StreamReceiver<I extends DescMessage = DescMessage> extends CallObserver {
  /** The call has begun. The receiver asks for the first request. */
  begin(): void;
  /** One request. The bytes belong to the receiver. */
  request(bytes: Encoded<I>): void;
  /** There are no more requests. */
  halfClose(): void;
}

/** Receives the one request of a call whose server streams. */
export interface RequestReceiver<I extends DescMessage = DescMessage> extends CallObserver {
  run(request: MessageShape<I>): void;
}

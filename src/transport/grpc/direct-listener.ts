import { type Metadata, type ServerInterceptingCallInterface, status as statusCode } from '@grpc/grpc-js';
import type { CallEnd, CallWindows, StreamReceiver } from '../../api/call.js';
import type { Api } from '../../api/methods.js';
import type { CallContext } from '../../base/call-context.js';
import { SluiceError } from '../../base/errors.js';
import { invariant } from '../../base/invariant.js';
import { limits } from '../../base/limits.js';
import type { Logger } from '../../base/logger.js';
import { createCallContext } from '../context.js';
import type { GuardedMethod } from '../guards/guard.js';
import type { GuardChain, Passage } from '../guards/guard-chain.js';
import type { CallTable } from './call-table.js';
import { type CallOwner, DirectCall, type PartialStatusObject } from './direct-call.js';
import { readRequestsWith } from './grpc-js/framing.js';
import {
  connectionOf,
  endRequest,
  halfOpenStream,
  isReset,
  isSent,
  unsentBytes,
} from './grpc-js/http2-sessions.js';
import type { CallEntry, OpenCall } from './open-call.js';
import { RequestDecoder } from './request-decoder.js';
import type { Route } from './routes.js';
import type { StreamAccount } from './stream-answers.js';

/** The parts of a server that its calls use. */
export interface CallServices {
  readonly table: CallTable;
  readonly windows: CallWindows;
  readonly guards: GuardChain;
  readonly fieldOf: Api['fieldOf'];
  readonly logger: Logger;
}

type Listener = Parameters<ServerInterceptingCallInterface['start']>[0];

/**
 * Receives the events of a call from grpc-js, asks the guards, and passes the requests to the receiver of the handler. Ends
 * the call if the receiver throws. `DirectCall` shows how the parts of a call use each other.
 */
export class DirectListener implements Listener, OpenCall, CallOwner {
  readonly kind: 'unary' | 'stream';
  readonly peer: string;
  readonly windows: CallWindows;
  entry: CallEntry | undefined;
  readonly #call: DirectCall;
  readonly #base: ServerInterceptingCallInterface;
  readonly #route: Route;
  readonly #table: CallTable;
  readonly #guards: GuardChain;
  readonly #connection: { readonly destroyed: boolean } | undefined;
  readonly #decoder: RequestDecoder;
  #receiver: StreamReceiver | undefined;
  #context: CallContext | undefined;
  #end: CallEnd | undefined;
  #isStopping = false;
  /** Its one request is due. */
  #isRequestDue: boolean;
  /** The client has closed its half. */
  #isHalfClosed = false;
  /** The call, or a request that was read, is with the guards. */
  #passage: Passage | undefined;

  constructor(base: ServerInterceptingCallInterface, route: Route, services: CallServices) {
    const { table, guards } = services;
    this.kind = route.isStream ? 'stream' : 'unary';
    this.peer = base.getPeer();
    const { hasOneRequest, longestRequestBytes } = route;
    this.#isRequestDue = hasOneRequest;
    const readAboveBytes = hasOneRequest ? 0 : limits.oversizeReadBytes;
    this.#decoder = new RequestDecoder({
      maxBytes: longestRequestBytes,
      readAboveBytes,
      hasOneRequest,
      ...(hasOneRequest && {
        reserve: (bytes: number) => table.receiving(this, bytes),
        refuse: (error: SluiceError) => this.stop(error),
      }),
    });
    readRequestsWith(base, this.#decoder, longestRequestBytes + readAboveBytes);
    this.#call = new DirectCall(base, services, this);
    this.#connection = connectionOf(base);
    this.#base = base;
    this.#route = route;
    this.#table = table;
    this.#guards = guards;
    this.windows = services.windows;
  }

  onReceiveMetadata(metadata: Metadata): void {
    this.#context = createCallContext(this.peer, deadlineOf(this.#base), metadata);
    try {
      this.#table.opened(this);
    } catch (thrown) {
      this.#call.fail(thrown);
      endRequest(this.#base);
      return;
    }
    if (this.#guards.checksCalls) this.#checkCall();
    else this.#open();
  }

  #open(): void {
    try {
      this.#receiver = this.#route.createReceiver(this.#call);
      this.#receiver.begin();
    } catch (thrown) {
      this.#call.fail(thrown);
    }
  }

  /** While the guards hold the call, it has no receiver and reads nothing. */
  #checkCall(): void {
    this.#passage = this.#guards.callPassage(this.context, this.#route.method, {
      allowed: () => {
        this.#passed();
        this.#open();
      },
      refused: (error) => {
        this.#passage = undefined;
        this.#call.fail(error);
        endRequest(this.#base);
      },
    });
    this.#passage.begin();
  }

  /** While the guards hold a request, the receiver waits for it, and nothing more is read. */
  #checkRequest(bytes: Buffer): void {
    invariant(this.#passage === undefined, 'a receiver asked for two requests at once');
    this.#passage = this.#guards.requestPassage(this.context, this.#route.method, bytes, {
      allowed: () => {
        this.#passed();
        this.#handOver(bytes);
      },
      refused: (error) => {
        this.#passage = undefined;
        this.stop(error);
      },
    });
    this.#passage.begin();
  }

  #passed(): void {
    this.#passage = undefined;
    if (this.#isRequestDue) this.#table.awaitRequest(this);
  }

  onReceiveMessage(bytes: Buffer): void {
    if (this.#call.isOver || this.#isStopping) return;
    const refusal = this.#decoder.refusalOf(bytes);
    if (refusal !== undefined) this.stop(refusal);
    else if (this.#guards.checksRequests) this.#checkRequest(bytes);
    else this.#handOver(bytes);
  }

  #handOver(bytes: Buffer): void {
    try {
      this.#receiver?.request(bytes);
    } catch (thrown) {
      this.#call.fail(thrown);
    }
  }

  onReceiveHalfClose(): void {
    this.#isRequestDue = false;
    this.#isHalfClosed = true;
    if (this.#call.isOver || this.#isStopping) return;
    // Node ends the readable side of a lost connection: the client has not closed its half, and the call ends
    // next.
    if (this.#connection?.destroyed === true) return;
    if (this.#decoder.isInsideRequest && !isReset(this.#base)) {
      this.stop(
        new SluiceError('MALFORMED_REQUEST', 'the client closed its half of the call inside a request'),
      );
      return;
    }
    try {
      this.#receiver?.halfClose();
    } catch (thrown) {
      this.#call.fail(thrown);
    }
    // A stream has read its request; a unary call may still wait for room for its answer.
    if (this.kind === 'stream') this.#table.letRequestGo(this);
  }

  /** A closing connection is destroyed before its streams report their end. */
  onCancel(): void {
    this.#call.markOver(this.#connection?.destroyed === true ? 'broke' : 'cancelled');
    this.#table.closed(this, isSent(this.#base));
  }

  ended(end: CallEnd): void {
    this.#end = end;
    queueMicrotask(() => this.#over(end));
  }

  broke(): void {
    if (this.#end === 'cancelled') this.#table.broke(this);
  }

  whenAnswerable(answer: () => void): void {
    this.#table.whenAnswerable(this, answer);
  }

  answering(bytes: number): void {
    this.#table.answering(this, bytes);
  }

  get isWaitingForRequest(): boolean {
    return this.#isRequestDue && this.#passage === undefined;
  }

  get context(): CallContext {
    return this.#context!;
  }

  get method(): GuardedMethod {
    return this.#route.method;
  }

  get owed(): StreamAccount {
    return this.entry!.owed;
  }

  #over(end: CallEnd): void {
    this.#decoder.close();
    this.#passage?.cancel();
    // The client may leave its half of the stream open, with a part of a request.
    if (this.#isRequestDue) endRequest(this.#base);
    else if (end === 'answered' && !this.#isHalfClosed) this.#table.leftHalfOpen(halfOpenStream(this.#base));
    this.#table.answered(this);
    // Frames of messages are not counted any more when their session has ended: what is left of them is owed.
    if (end === 'answered' && this.kind === 'stream') this.entry?.owed.ended(() => unsentBytes(this.#base));
    const receiver = this.#receiver;
    this.#receiver = undefined;
    try {
      receiver?.over(end);
    } catch (thrown) {
      // The client is gone. A defect of the broker is logged.
      this.#call.clientError(thrown);
    }
  }

  stop(error: SluiceError): void {
    if (this.#isStopping) return;
    this.#isStopping = true;
    this.#passage?.cancel();
    if (this.#call.isOver) return;
    try {
      if (this.#receiver === undefined) this.#call.fail(error);
      else this.#receiver.stop(error);
    } catch (thrown) {
      this.#call.fail(thrown);
    }
  }

  /**
   * grpc-js ends the call itself. A request that it could not read becomes an error like any other, after the
   * answers that the client is still owed. grpc-js reports it again for each part of such a request.
   */
  onGrpcStatus(status: PartialStatusObject): void {
    const error = this.#call.isOver ? undefined : unreadable(status);
    if (error === undefined) this.#call.endAsGrpcDid(status);
    else this.stop(error);
  }
}

/** Undefined if the request is not at fault, for example because the deadline has passed. */
function unreadable(status: PartialStatusObject): SluiceError | undefined {
  const text = `the request could not be read: ${status.details}`;
  switch (status.code) {
    case statusCode.RESOURCE_EXHAUSTED:
      return new SluiceError('REQUEST_TOO_LARGE', text);
    case statusCode.UNIMPLEMENTED:
      return new SluiceError('UNIMPLEMENTED', text);
    case statusCode.INTERNAL:
      return new SluiceError('MALFORMED_REQUEST', text);
    default:
      return undefined;
  }
}

/** Undefined if the client set none. */
export function deadlineOf(call: ServerInterceptingCallInterface): number | undefined {
  const deadlineAtMs = Number(call.getDeadline());
  return Number.isFinite(deadlineAtMs) ? deadlineAtMs : undefined;
}

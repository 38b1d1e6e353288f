import { type Metadata, ServerInterceptingCall, type ServerInterceptingCallInterface } from '@grpc/grpc-js';
import { SluiceError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import { createCallContext } from '../context.js';
import type { GuardChain, Passage } from '../guards/guard-chain.js';
import type { CallTable } from './call-table.js';
import { type CallServices, deadlineOf } from './direct-listener.js';
import { countFrames, readRequestsWith } from './grpc-js/framing.js';
import { endRequest, isSent } from './grpc-js/http2-sessions.js';
import type { CallEntry, OpenCall } from './open-call.js';
import { RequestDecoder } from './request-decoder.js';
import { clientError, toStatus } from './status.js';

/**
 * A call of another service on this server (health, reflection). Its handler belongs to a library and has no
 * limits, so the call has them: its answers count like those of unary calls, the next request is not read before
 * the answer to the previous one has left, and the call ends when the server drains.
 */
export class DelegatedCall extends ServerInterceptingCall implements OpenCall {
  readonly kind = 'delegated';
  readonly peer: string;
  readonly isWaitingForRequest = false;
  entry: CallEntry | undefined;
  readonly #base: ServerInterceptingCallInterface;
  readonly #table: CallTable;
  readonly #services: CallServices;
  readonly #decoder: RequestDecoder;
  #isStopped = false;
  /** An answer waits for room, or has not left for the transport. */
  #isAnswering = false;
  #isReadHeld = false;
  /** The call is with the guards. Its handler waits for the metadata. */
  #passage: Passage | undefined;
  /** The size of that answer. */
  #answerBytes = 0;

  constructor(
    base: ServerInterceptingCallInterface,
    method: { readonly path: string; readonly requestStream: boolean },
    services: CallServices,
  ) {
    const { table, guards } = services;
    super(base, {
      start: (next) => {
        try {
          table.opened(this);
        } catch (thrown) {
          // Its handler is not told, because it never saw the call.
          this.#isStopped = true;
          base.sendStatus(toStatus(SluiceError.from(thrown)));
          // The client may leave its half of the stream open.
          endRequest(base);
          return;
        }
        next({
          onReceiveMetadata: (metadata, proceed) => {
            if (guards.checksCalls) this.#check(guards, method.path, metadata, () => proceed(metadata));
            else proceed(metadata);
          },
          onCancel: () => {
            this.#passage?.cancel();
            this.#decoder.close();
            table.closed(this, isSent(base));
          },
        });
      },
      // A message that the handler sends after the status would break the stream, and the client would wait for
      // ever.
      sendMessage: (message, next) => {
        if (!this.#isStopped) next(message);
      },
      sendStatus: (status, next) => {
        if (!this.#isStopped) next(status);
      },
    });
    this.#base = base;
    this.#table = table;
    this.#services = services;
    this.peer = base.getPeer();
    const maxBytes = limits.smallRequestBytes;
    this.#decoder = new RequestDecoder({
      maxBytes,
      hasOneRequest: !method.requestStream,
      reserve: (bytes) => table.receiving(this, bytes),
      handedOver: () => table.letRequestGo(this),
      refuse: (error) => {
        this.stop(error);
        endRequest(base);
      },
    });
    readRequestsWith(base, this.#decoder, maxBytes);
    countFrames(base, (bytes) => {
      this.#answerBytes = bytes;
      table.answering(this, bytes);
    });
  }

  #check(guards: GuardChain, path: string, metadata: Metadata, proceed: () => void): void {
    const context = createCallContext(this.peer, deadlineOf(this.#base), metadata);
    this.#passage = guards.callPassage(
      context,
      { path, descriptor: undefined },
      {
        allowed: proceed,
        refused: (error) => {
          this.stop(error);
          endRequest(this.#base);
        },
      },
    );
    this.#passage.begin();
  }

  stop(error: SluiceError): void {
    this.#passage?.cancel();
    this.#isStopped = true;
    this.#base.sendStatus(toStatus(clientError(error, this.#services, undefined)));
    this.#table.answered(this);
  }

  override startRead(): void {
    if (this.#isAnswering) this.#isReadHeld = true;
    else super.startRead();
  }

  /** The handler sends one message at a time: the next one follows the call of `written`. */
  override sendMessage(message: unknown, written: () => void): void {
    this.#isAnswering = true;
    this.#table.whenAnswerable(this, () => {
      super.sendMessage(message, () => {
        this.#table.answerLeft(this, this.#answerBytes);
        this.#isAnswering = false;
        written();
        if (this.#isReadHeld && !this.#isAnswering) {
          this.#isReadHeld = false;
          super.startRead();
        }
      });
    });
  }
}

import type { ClientDuplexStream, ClientReadableStream, ClientWritableStream } from '@grpc/grpc-js';
import { SluiceError, StatusCode } from './errors.js';

interface Waiter {
  readonly resolve: () => void;
  readonly reject: (error: SluiceError) => void;
}

/**
 * The sending side of a stream. Counts the bytes that were written and that the transport has not taken, because
 * the library's own write buffer counts messages, whatever their size.
 */
export class RequestWriter {
  readonly #stream: ClientWritableStream<Buffer> | ClientDuplexStream<Buffer, unknown>;
  readonly #sendBufferBytes: number;
  #unsentBytes = 0;
  #waiters: Waiter[] = [];
  /** The error of further writes, once the stream accepts no more. */
  #ended: SluiceError | undefined;

  constructor(
    stream: ClientWritableStream<Buffer> | ClientDuplexStream<Buffer, unknown>,
    sendBufferBytes: number,
  ) {
    this.#stream = stream;
    this.#sendBufferBytes = sendBufferBytes;
    stream.on('drain', () => this.#release());
  }

  /** Writes one request, in the order of the calls. Resolves when there is room for the next request. */
  async write(request: Buffer): Promise<void> {
    if (this.#ended !== undefined) throw this.#ended;
    this.#unsentBytes += request.length;
    this.#stream.write(request, () => {
      this.#unsentBytes -= request.length;
      this.#release();
    });
    if (this.#hasRoom) return;
    await new Promise<void>((resolve, reject) => this.#waiters.push({ resolve, reject }));
  }

  /** Half-closes the stream: it accepts no more requests. Idempotent. */
  end(): void {
    if (this.#ended !== undefined) return;
    this.#ended = callEnded('the stream was ended on this side');
    this.#stream.end();
  }

  /** The call has ended: wakes every waiting caller. */
  close(failure: SluiceError | undefined): void {
    this.#ended = failure ?? callEnded('the broker has ended the call');
    for (const waiter of this.#waiters.splice(0)) waiter.reject(this.#ended);
  }

  get #hasRoom(): boolean {
    return this.#unsentBytes < this.#sendBufferBytes && !this.#stream.writableNeedDrain;
  }

  #release(): void {
    if (!this.#hasRoom) return;
    for (const waiter of this.#waiters.splice(0)) waiter.resolve();
  }
}

function callEnded(message: string): SluiceError {
  return new SluiceError(message, { code: StatusCode.CANCELLED, reason: 'CALL_ENDED' });
}

/**
 * The receiving side of a stream, to be iterated once. It asks for the next response only when there is room, so
 * a slow reader closes its HTTP/2 window. Leaving the loop cancels the call; a failed call throws after
 * everything that came before the failure.
 */
export function readResponses<T>(
  call: ClientReadableStream<T> | ClientDuplexStream<Buffer, T>,
): AsyncIterator<T, undefined> {
  // Listens from the start: a call may fail before the caller iterates.
  let failure: SluiceError | undefined;
  call.on('error', (error) => {
    failure ??= SluiceError.from(error);
  });
  async function* iterate(): AsyncGenerator<T, undefined> {
    try {
      for await (const response of call) yield response as T;
    } catch (error) {
      throw failure ?? SluiceError.from(error);
    } finally {
      call.cancel();
    }
    if (failure !== undefined) throw failure;
    return undefined;
  }
  return iterate();
}

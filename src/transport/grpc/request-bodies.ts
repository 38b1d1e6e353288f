import { SluiceError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import { secondMs } from '../../base/units.js';
import type { ClientConnection } from './peers.js';

/**
 * Memory for the requests of calls that take one: counted from the moment their length is known until the call is
 * answered, or until its stream has begun. A connection that holds nothing may send a request of any legal size. A
 * connection at its limit gets no more. If all connections together are at their limit, only a connection that
 * holds little may add to it.
 */
export class RequestBodies {
  readonly #maxBytes: number;
  readonly #maxConnectionBytes: number;
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
    this.#maxConnectionBytes = Math.min(limits.requestBytesPerConnection, maxBytes / 2);
  }

  /** Over all connections. */
  get bytes(): number {
    return this.#bytes;
  }

  get isPressed(): boolean {
    return this.#bytes >= this.#maxBytes;
  }

  /** Returns the refusal if there is no room. */
  take(connection: ClientConnection, bytes: number): SluiceError | undefined {
    if (!this.#hasRoom(connection, bytes)) {
      const text =
        'the requests of open calls take all the memory that there is for them: wait for answers, and read them';
      return new SluiceError('TOO_MANY_CALLS', text, { retryAfterMs: secondMs });
    }
    connection.requestBytes += bytes;
    this.#bytes += bytes;
    return undefined;
  }

  giveBack(connection: ClientConnection, bytes: number): void {
    connection.requestBytes -= bytes;
    this.#bytes -= bytes;
  }

  #hasRoom({ requestBytes, isShared }: ClientConnection, bytes: number): boolean {
    const isFirst = requestBytes === 0;
    const isSmall = requestBytes + bytes <= limits.freeRequestBytes;
    if (!isFirst && !isShared && requestBytes + bytes > this.#maxConnectionBytes) return false;
    if (this.#bytes + bytes <= this.#maxBytes) return true;
    return (isFirst || isSmall) && this.#bytes < 2 * this.#maxBytes;
  }
}

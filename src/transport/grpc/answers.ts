import { limits } from '../../base/limits.js';
import type { ClientConnection } from './peers.js';

/**
 * Limits answers of unary calls that have not left for the transport because a client does not read them. A
 * connection over its limit gets no more answers until some have left: its calls wait. If all connections together
 * are over their limit, only connections without an unread answer get one. A connection also gets only a few
 * answers in each turn of the event loop, so that it does not use all of the processor.
 */
export class Answers {
  readonly #maxBytes: number;
  readonly #maxConnectionBytes: number;
  readonly #withWaiting = new Set<ClientConnection>();
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
    this.#maxConnectionBytes = Math.min(limits.answerBytesPerConnection, maxBytes / 2);
  }

  /** Bytes that have not left for the transport, over all connections. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Over the limit: connections that have not read for long are closed. */
  get isPressed(): boolean {
    return this.#bytes >= this.#maxBytes;
  }

  /** Calls `answer` when there is room for it: usually at once. */
  whenRoom(connection: ClientConnection, answer: () => void): void {
    if (connection.waiting.size === 0 && this.#hasRoom(connection)) {
      this.#begin(connection, answer);
      return;
    }
    connection.waiting.add(answer);
    this.#withWaiting.add(connection);
  }

  /** The call has ended: its answer is not sent. */
  giveUp(connection: ClientConnection, answer: () => void): void {
    connection.waiting.delete(answer);
    if (connection.waiting.size === 0) this.#withWaiting.delete(connection);
  }

  sent(connection: ClientConnection, bytes: number): void {
    connection.answerBytes += bytes;
    this.#bytes += bytes;
  }

  left(connection: ClientConnection, bytes: number): void {
    connection.leftCount += 1;
    this.dropped(connection, bytes);
  }

  /** The call has ended before its answer left: the memory is free, but the client has not read. */
  dropped(connection: ClientConnection, bytes: number): void {
    const wasPressed = this.isPressed;
    connection.answerBytes -= bytes;
    this.#bytes -= bytes;
    this.#admit(connection);
    if (!wasPressed || this.isPressed) return;
    for (const each of [...this.#withWaiting]) this.#admit(each);
  }

  /** The connection has closed: drops its waiting answers. */
  forget(connection: ClientConnection): void {
    connection.waiting.clear();
    this.#withWaiting.delete(connection);
  }

  #hasRoom({ answersInTurn, answerBytes }: ClientConnection): boolean {
    if (answersInTurn >= limits.answersPerTurn || answerBytes >= this.#maxConnectionBytes) return false;
    return !this.isPressed || (answerBytes === 0 && this.#bytes < 2 * this.#maxBytes);
  }

  #begin(connection: ClientConnection, answer: () => void): void {
    if (connection.answersInTurn++ === 0) {
      setImmediate(() => {
        connection.answersInTurn = 0;
        this.#admit(connection);
      });
    }
    answer();
  }

  #admit(connection: ClientConnection): void {
    for (const answer of connection.waiting) {
      if (!this.#hasRoom(connection)) return;
      connection.waiting.delete(answer);
      this.#begin(connection, answer);
    }
    if (connection.waiting.size === 0) this.#withWaiting.delete(connection);
  }
}

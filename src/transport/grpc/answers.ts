import { limits } from '../../base/limits.js';
import type { ClientConnection } from './peers.js';

/**
 * Answers of unary calls that have not left for the transport, because a client does not read them. A connection with
 * too many gets no more until some have left: its calls wait, unanswered. Where all connections together have too many,
 * only those without any get one. Nor does a connection get all of the processor: a few answers a turn of the event
 * loop, and the next ones behind what others want.
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

  /** Bytes that have not left, over all connections. */
  get bytes(): number {
    return this.#bytes;
  }

  /** More than there should be: who has not read for long has to go. */
  get isPressed(): boolean {
    return this.#bytes >= this.#maxBytes;
  }

  /** Calls `answer` when there is room for what it will send: at once, as a rule. */
  whenRoom(connection: ClientConnection, answer: () => void): void {
    if (connection.waiting.size === 0 && this.#hasRoom(connection)) {
      this.#begin(connection, answer);
      return;
    }
    connection.waiting.add(answer);
    this.#withWaiting.add(connection);
  }

  /** The call is over: its answer is not wanted any more. */
  giveUp(connection: ClientConnection, answer: () => void): void {
    connection.waiting.delete(answer);
    if (connection.waiting.size === 0) this.#withWaiting.delete(connection);
  }

  sent(connection: ClientConnection, bytes: number): void {
    connection.answerBytes += bytes;
    this.#bytes += bytes;
  }

  left(connection: ClientConnection, bytes: number): void {
    const wasPressed = this.isPressed;
    connection.answerBytes -= bytes;
    connection.leftCount += 1;
    this.#bytes -= bytes;
    this.#admit(connection);
    if (!wasPressed || this.isPressed) return;
    for (const each of [...this.#withWaiting]) this.#admit(each);
  }

  /** The connection is gone: nobody waits any more. */
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

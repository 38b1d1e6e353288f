import type { OwedBytes } from '../../api/call.js';
import { limits } from '../../base/limits.js';
import type { ClientConnection } from './peers.js';

/**
 * Memory for the answers that streams owe their clients: answers that are due, and answers that have not left for the
 * transport because a client does not read them. A stream may use a part of the free memory. So streams whose clients
 * read nothing never use all of it, however many they are, and the other streams go on:
 *
 *     each of n streams that are not read ends with   max / (n + 1 / part)
 *     free for the others stays                       max / (n * part + 1)
 *
 * A stream that owes nothing may always read one more request. So a held stream waits only for its own client, never
 * for another stream. The maximum can be exceeded by one answer for each stream.
 */
export class StreamAnswers {
  readonly #maxBytes: number;
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Over all streams. */
  get bytes(): number {
    return this.#bytes;
  }

  /** There is none left: connections that have read nothing for long are closed. */
  get isPressed(): boolean {
    return this.#bytes >= this.#maxBytes;
  }

  /** How much one stream may hold. */
  get shareBytes(): number {
    return Math.max(0, this.#maxBytes - this.#bytes) * limits.streamAnswersShare;
  }

  open(connection: ClientConnection): StreamAccount {
    return new StreamAccount(this, connection);
  }

  /** Only for StreamAccount. */
  changed(bytes: number): void {
    this.#bytes += bytes;
  }
}

/** What one stream owes its client. */
export class StreamAccount implements OwedBytes {
  readonly #all: StreamAnswers;
  readonly #connection: ClientConnection;
  #bytes = 0;
  #isClosed = false;
  #resume: (() => void) | undefined;

  constructor(all: StreamAnswers, connection: ClientConnection) {
    this.#all = all;
    this.#connection = connection;
  }

  /** The stream holds its part or more, and must not add to it. */
  get isFull(): boolean {
    return this.#bytes > 0 && this.#bytes >= this.#all.shareBytes;
  }

  /** An answer is due, or waits for the transport. */
  add(bytes: number): void {
    if (this.#isClosed) return;
    this.#bytes += bytes;
    this.#all.changed(bytes);
    this.#connection.unreadBytes += bytes;
  }

  /** So many bytes wait for the transport, those of answers among them: what is not counted yet is added. */
  addUnsent(unsentBytes: number): void {
    if (unsentBytes > this.#bytes) this.add(unsentBytes - this.#bytes);
  }

  /** An answer has left for the transport. */
  remove(bytes: number): void {
    if (this.#isClosed) return;
    this.#take(bytes);
    this.#connection.leftCount += 1;
    const resume = this.#resume;
    if (resume === undefined || this.isFull) return;
    this.#resume = undefined;
    resume();
  }

  /** The stream is full, and reads nothing. Calls back once, when there is room again. */
  whenRoom(resume: () => void): void {
    this.#resume = resume;
  }

  /** The stream has closed, and its memory is free. Does not count as reading. May be called twice. */
  close(): void {
    if (this.#isClosed) return;
    this.#take(this.#bytes);
    this.#isClosed = true;
    this.#resume = undefined;
  }

  #take(bytes: number): void {
    this.#bytes -= bytes;
    this.#all.changed(-bytes);
    this.#connection.unreadBytes -= bytes;
  }
}

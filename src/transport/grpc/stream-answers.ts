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
  #unsentBytes: () => number = () => 0;
  #lastUnsentBytes = 0;

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

  /**
   * The stream has its status. `unsentBytes` measures what waits for the transport: answers, and frames of messages, which
   * are not counted before. No callback says here when such a frame leaves, so the connection measures again.
   */
  ended(unsentBytes: () => number): void {
    const bytes = unsentBytes();
    if (this.#isClosed || bytes === 0) return;
    if (bytes > this.#bytes) this.add(bytes - this.#bytes);
    this.#unsentBytes = unsentBytes;
    this.#lastUnsentBytes = bytes;
    this.#connection.ending.add(this);
  }

  /** Of a stream that has ended: whether something has left for the transport since the last call. */
  hasMoved(): boolean {
    const bytes = this.#unsentBytes();
    const hasMoved = bytes < this.#lastUnsentBytes;
    this.#lastUnsentBytes = bytes;
    return hasMoved;
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
    this.#connection.ending.delete(this);
  }

  #take(bytes: number): void {
    this.#bytes -= bytes;
    this.#all.changed(-bytes);
    this.#connection.unreadBytes -= bytes;
  }
}

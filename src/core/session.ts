import { lowerBound } from './search.js';
import type { Credit } from './types.js';

/**
 * One consumer's stream: what it may hold, and what it holds. Only the lease table takes and gives back credit,
 * together with the lease that it pays for, so that it is given back exactly once.
 */
export class Session {
  readonly id: string;
  credit: Credit;
  /** Deliveries whose bytes have not left yet: a few at most, the transport takes no more. */
  readonly deliveriesInTransit = new Set<number>();
  /** Whose turn it is among the lanes that the session reads. */
  nextLane = 0;
  /** A settlement of it has taken effect: its consumer has worked on what it got. */
  hasSettled = false;
  /** A lease of it has lapsed, and its consumer has said nothing since: it is passed over, for a time. */
  isSilent = false;
  /** How often that has happened since its consumer last said something. */
  silenceCount = 0;
  /** It holds a message that is delivered alone: nothing else goes to it meanwhile. */
  #isIsolated = false;
  #outstandingMessages = 0;
  #outstandingBytes = 0;

  constructor(id: string, credit: Credit) {
    this.id = id;
    this.credit = credit;
  }

  get outstandingMessages(): number {
    return this.#outstandingMessages;
  }

  get outstandingBytes(): number {
    return this.#outstandingBytes;
  }

  /** Its consumer wants nothing for now. */
  get isPaused(): boolean {
    return this.credit.messages <= 0 || this.credit.bytes <= 0;
  }

  /** Messages that may still be delivered. Negative after the consumer lowered its credit. */
  get messagesLeft(): number {
    return this.#isIsolated ? 0 : this.credit.messages - this.#outstandingMessages;
  }

  /** Why nothing may be delivered now, for want of credit. */
  get lackOfCredit(): 'messageCredit' | 'byteCredit' | undefined {
    if (this.messagesLeft <= 0) return 'messageCredit';
    if (this.#outstandingBytes >= this.credit.bytes) return 'byteCredit';
    return undefined;
  }

  /**
   * How many of the messages `from` up to `to` of a run the credit covers. Bytes may be passed by the last of
   * them, so that a message larger than the whole credit is not stuck.
   */
  covered(ends: Uint32Array, from: number, to: number): number {
    if (this.lackOfCredit !== undefined) return 0;
    const count = Math.min(to - from, this.messagesLeft);
    const bytesLeft = this.credit.bytes - this.#outstandingBytes;
    const start = from === 0 ? 0 : ends[from - 1]!;
    if (ends[from + count - 1]! - start <= bytesLeft) return count;
    const fitting = ends.subarray(from, from + count);
    return lowerBound(fitting, start + bytesLeft) + 1;
  }

  take(messages: number, bytes: number): void {
    this.#outstandingMessages += messages;
    this.#outstandingBytes += bytes;
  }

  giveBack(messages: number, bytes: number): void {
    this.#outstandingMessages -= messages;
    this.#outstandingBytes -= bytes;
    if (this.#outstandingMessages === 0) this.#isIsolated = false;
  }

  /** What it holds now takes all of its credit. */
  isolate(): void {
    this.#isIsolated = true;
  }
}

import { lowerBound } from './search.js';
import type { Credit } from './types.js';

/**
 * One consumer's stream: its credit and what it holds. Only the lease table takes and gives back credit, together
 * with the lease, so that credit is given back exactly once.
 */
export class Session {
  readonly id: string;
  credit: Credit;
  /** Deliveries whose bytes have not left yet. The transport takes only a few at a time. */
  readonly deliveriesInTransit = new Set<number>();
  /** When the bytes of a delivery last left. */
  lastLeftAtMs = Number.NEGATIVE_INFINITY;
  /** The index of the lane that is next in the round robin. */
  nextLane = 0;
  /** A settlement has taken effect: the consumer has worked on messages. */
  hasSettled = false;
  /** A lease lapsed, and the consumer has sent nothing since: other sessions are preferred, for a time. */
  isSilent = false;
  /** No delivery has left for long, and other sessions get its messages: it is silent until a delivery leaves. */
  isStuck = false;
  /** How often that happened since the consumer last sent something. */
  silenceCount = 0;
  /** It holds a message that is delivered alone: it gets no other messages meanwhile. */
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

  /** The consumer wants no messages for now. */
  get isPaused(): boolean {
    return this.credit.messages <= 0 || this.credit.bytes <= 0;
  }

  /** Messages that may still be delivered. Negative after the consumer lowered its credit. */
  get messagesLeft(): number {
    return this.#isIsolated ? 0 : this.credit.messages - this.#outstandingMessages;
  }

  /** The credit that is missing, if no message may be delivered now. */
  get lackOfCredit(): 'messageCredit' | 'byteCredit' | undefined {
    if (this.messagesLeft <= 0) return 'messageCredit';
    if (this.#outstandingBytes >= this.credit.bytes) return 'byteCredit';
    return undefined;
  }

  /**
   * How many of the messages `from` up to `to` of a run the credit covers. The last of them may exceed the bytes,
   * so that a message larger than the whole credit can be delivered.
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

  /** Its messages now take all of its credit. */
  isolate(): void {
    this.#isIsolated = true;
  }
}

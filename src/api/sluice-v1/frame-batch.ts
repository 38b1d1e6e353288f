import { limits } from '../../base/limits.js';
import { messagePrefixBytes, writeMessagePrefix } from '../message-prefix.js';

/**
 * Collects messages, each with its prefix, for one write to the transport: a write costs about as much as all
 * other work for a small message. A batch is sent when it is full, or when nothing more is due.
 */
export class FrameBatch {
  #buffer = Buffer.allocUnsafe(2 * limits.answerBatchBytes);
  #bytes = 0;
  #count = 0;

  get messageCount(): number {
    return this.#count;
  }

  get isFull(): boolean {
    return this.#bytes >= limits.answerBatchBytes;
  }

  /** Copies the message. */
  add(message: Uint8Array): void {
    const start = this.#bytes;
    const end = start + messagePrefixBytes + message.length;
    if (end > this.#buffer.length) this.#grow(end);
    const buffer = this.#buffer;
    writeMessagePrefix(buffer, start, end);
    buffer.set(message, start + messagePrefixBytes);
    this.#bytes = end;
    this.#count++;
  }

  /** Returns the collected frames, in their own memory. Afterwards the batch is empty. */
  take(): Buffer {
    const frames = Buffer.allocUnsafe(this.#bytes);
    this.#buffer.copy(frames, 0, 0, this.#bytes);
    this.#bytes = 0;
    this.#count = 0;
    return frames;
  }

  #grow(bytes: number): void {
    const grown = Buffer.allocUnsafe(2 * bytes);
    this.#buffer.copy(grown, 0, 0, this.#bytes);
    this.#buffer = grown;
  }
}

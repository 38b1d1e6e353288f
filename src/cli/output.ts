import { fstatSync } from 'node:fs';
import type { Writable } from 'node:stream';
import { limits } from '../base/limits.js';

/** The output has no reader any more (`| head`): the rest need not be printed. */
export class OutputClosed extends Error {
  override readonly name = 'OutputClosed';
}

/** Stdout or stderr. A write resolves when the bytes have been taken, so a slow reader slows the writer. */
export class Output {
  readonly #stream: Writable & { readonly fd?: number };
  readonly isTerminal: boolean;
  readonly #heldBytes: number | undefined;
  #isClosed = false;

  constructor(stream: Writable & { readonly isTTY?: boolean; readonly fd?: number }, heldBytes?: number) {
    this.#stream = stream;
    this.isTerminal = stream.isTTY === true;
    this.#heldBytes = heldBytes;
    // Every failed write rejects. Without this listener the process would end.
    stream.on('error', () => {
      this.#isClosed = true;
    });
  }

  /**
   * The most bytes that were written and that the reader may not have read; 0 if the output is not a pipe.
   * Determined at the first use: in Node 20, an fstat before the broker's modules are loaded leaves CommonJS
   * packages without their exports if the command is installed through symbolic links.
   */
  get heldBytes(): number {
    return this.#heldBytes ?? heldBytesOf(this.#stream.fd);
  }

  /** Throws OutputClosed if the output has no reader any more. */
  async write(data: string | Uint8Array): Promise<void> {
    if (data.length === 0) return;
    if (this.#isClosed) throw new OutputClosed();
    await new Promise<void>((resolve, reject) => {
      this.#stream.write(data, (error) => {
        if (error === null || error === undefined) resolve();
        else reject(isClosedPipe(error) ? new OutputClosed() : error);
      });
    });
  }

  async line(text: string): Promise<void> {
    await this.write(`${text}\n`);
  }
}

function heldBytesOf(fd: number | undefined): number {
  if (fd === undefined) return 0;
  const stats = fstatSync(fd);
  if (stats.isFIFO()) return limits.pipeBytes;
  return stats.isSocket() ? limits.socketPipeBytes : 0;
}

function isClosedPipe(error: Error): boolean {
  return 'code' in error && (error.code === 'EPIPE' || error.code === 'ERR_STREAM_DESTROYED');
}

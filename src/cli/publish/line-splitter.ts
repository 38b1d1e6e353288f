const newline = 0x0a;

/** A line is longer than a message may be. */
export class LineTooLong extends Error {
  override readonly name = 'LineTooLong';
}

/**
 * Splits a stream of bytes into lines, exactly: a line is everything up to a line feed, including carriage
 * returns. Bytes behind the last line feed are a line too. Lines are views of the pushed chunks, not copies,
 * unless they span chunks.
 */
export class LineSplitter {
  readonly #maxLineBytes: number;
  #carry: Buffer[] = [];
  #carryBytes = 0;

  constructor(maxLineBytes: number) {
    this.#maxLineBytes = maxLineBytes;
  }

  /** The lines that end in this chunk. */
  push(bytes: Uint8Array): Uint8Array[] {
    const chunk = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const lines: Uint8Array[] = [];
    let from = 0;
    for (let at = chunk.indexOf(newline); at !== -1; at = chunk.indexOf(newline, from)) {
      lines.push(this.#finish(chunk.subarray(from, at)));
      from = at + 1;
    }
    if (from < chunk.length) this.#keep(chunk.subarray(from));
    return lines;
  }

  /** The last line, if it does not end with a line feed. */
  end(): Uint8Array | undefined {
    return this.#carryBytes === 0 ? undefined : this.#finish(Buffer.alloc(0));
  }

  #finish(tail: Buffer): Uint8Array {
    this.#keep(tail);
    const line = this.#carry.length === 1 ? this.#carry[0]! : Buffer.concat(this.#carry, this.#carryBytes);
    this.#carry = [];
    this.#carryBytes = 0;
    return line;
  }

  #keep(part: Buffer): void {
    this.#carryBytes += part.length;
    // Checked before the line ends: input without line feeds must not fill the memory.
    if (this.#carryBytes > this.#maxLineBytes) throw new LineTooLong();
    this.#carry.push(part);
  }
}

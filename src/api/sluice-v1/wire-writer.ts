/** The bytes of a varint. `value` is a safe integer, not negative. */
export function varintBytes(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  if (value < 0x20_0000) return 3;
  let byteCount = 4;
  for (let rest = Math.floor(value / 0x1000_0000); rest > 0; rest = Math.floor(rest / 0x80)) byteCount++;
  return byteCount;
}

const firstCapacity = 64 * 1024;
/** Up to this length, a loop is faster than a call of native code. */
const byHandBytes = 128;

/**
 * Writes protobuf into one buffer that it reuses: the result of `finish` is valid until the next `begin`. That is
 * enough, because `DirectCall.send` copies.
 */
export class WireWriter {
  #own = Buffer.allocUnsafe(firstCapacity);
  #buffer: Buffer = this.#own;
  #pos = 0;

  /** Starts a new message of at most `byteLength` bytes. */
  begin(byteLength: number): void {
    if (byteLength > this.#own.length) {
      let capacity = this.#own.length;
      while (capacity < byteLength) capacity *= 2;
      this.#own = Buffer.allocUnsafe(capacity);
    }
    this.beginIn(this.#own, 0);
  }

  /** Starts a new message in a buffer of the caller, which must have enough room. */
  beginIn(buffer: Buffer, at: number): void {
    this.#buffer = buffer;
    this.#pos = at;
  }

  finish(): Buffer {
    return this.#buffer.subarray(0, this.#pos);
  }

  byte(value: number): void {
    this.#buffer[this.#pos++] = value;
  }

  /** A safe integer, not negative. */
  varint(value: number): void {
    const buffer = this.#buffer;
    while (value > 0x7fff_ffff) {
      buffer[this.#pos++] = (value % 0x80) | 0x80;
      value = Math.floor(value / 0x80);
    }
    while (value >= 0x80) {
      buffer[this.#pos++] = (value & 0x7f) | 0x80;
      value >>>= 7;
    }
    buffer[this.#pos++] = value;
  }

  /** The halves of a 64-bit number, each from 0 to 2^32 - 1. */
  varint64(low: number, high: number): void {
    while (high > 0) {
      this.#buffer[this.#pos++] = (low & 0x7f) | 0x80;
      low = ((low >>> 7) | (high << 25)) >>> 0;
      high >>>= 7;
    }
    this.varint(low);
  }

  /** A number field; nothing for 0, as in proto3. */
  numberField(tag: number, value: number): void {
    if (value === 0) return;
    this.byte(tag);
    this.varint(value);
  }

  /** A text field of `byteLength` bytes; nothing for empty text. */
  textField(tag: number, text: string, byteLength: number): void {
    if (byteLength === 0) return;
    this.byte(tag);
    this.varint(byteLength);
    this.#pos += this.#buffer.write(text, this.#pos, byteLength, 'utf8');
  }

  /** A bytes field; nothing if it is empty. */
  bytesField(tag: number, bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.byte(tag);
    this.varint(bytes.length);
    this.copy(bytes, 0, bytes.length);
  }

  copy(source: Uint8Array, start: number, end: number): void {
    const byteLength = end - start;
    if (byteLength <= byHandBytes) {
      const buffer = this.#buffer;
      for (let from = start, to = this.#pos; from < end; from++, to++) buffer[to] = source[from]!;
    } else {
      const isWhole = byteLength === source.length;
      this.#buffer.set(isWhole ? source : source.subarray(start, end), this.#pos);
    }
    this.#pos += byteLength;
  }
}

/** Bytes of a number field with a tag of one byte. */
export function numberFieldBytes(value: number): number {
  return value === 0 ? 0 : 1 + varintBytes(value);
}

/** Bytes of a text field with a tag of one byte. */
export function textFieldBytes(byteLength: number): number {
  return byteLength === 0 ? 0 : 1 + varintBytes(byteLength) + byteLength;
}

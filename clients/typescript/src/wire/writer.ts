/** Bytes that a varint takes; `value` is a safe integer, not negative. */
export function varintBytes(value: number): number {
  let byteCount = 1;
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 0x80)) byteCount++;
  return byteCount;
}

/** The size of a field with a tag of one byte: tag, length and content. */
export function fieldBytes(byteLength: number): number {
  return 1 + varintBytes(byteLength) + byteLength;
}

/** Up to this length a loop is faster than a native call. */
const byHandBytes = 64;

/**
 * Encodes protobuf by hand, for the few message types that occur hundreds of thousands of times a second. The generated
 * code encodes all other types.
 */
export class WireWriter {
  #buffer: Buffer;
  #pos: number;

  /** `startAt` leaves room before the first byte. */
  constructor(capacity: number, startAt = 0) {
    this.#buffer = Buffer.allocUnsafe(capacity);
    this.#pos = startAt;
  }

  get pos(): number {
    return this.#pos;
  }

  /** The current buffer, until the writer needs more room. */
  get bytes(): Buffer {
    return this.#buffer;
  }

  /** Makes room for this many bytes. The caller must not write more before its next call. */
  reserve(byteLength: number): void {
    const needed = this.#pos + byteLength;
    if (needed <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(needed, 2 * this.#buffer.length));
    this.#buffer.copy(larger, 0, 0, this.#pos);
    this.#buffer = larger;
  }

  /** The bytes between two positions. A view of the buffer, which later writes can change. */
  view(start: number, end = this.#pos): Buffer {
    return this.#buffer.subarray(start, end);
  }

  /** Continues to write at an earlier, or left out, position. */
  moveTo(pos: number): void {
    this.#pos = pos;
  }

  byte(value: number): void {
    this.#buffer[this.#pos++] = value;
  }

  /** A safe integer, not negative. */
  varint(value: number): void {
    while (value > 0x7fff_ffff) {
      this.#buffer[this.#pos++] = (value % 0x80) | 0x80;
      value = Math.floor(value / 0x80);
    }
    while (value >= 0x80) {
      this.#buffer[this.#pos++] = (value & 0x7f) | 0x80;
      value >>>= 7;
    }
    this.#buffer[this.#pos++] = value;
  }

  /** An int64 of any sign. */
  int64(value: bigint): void {
    for (let rest = BigInt.asUintN(64, value); ; rest >>= 7n) {
      if (rest < 0x80n) {
        this.#buffer[this.#pos++] = Number(rest);
        return;
      }
      this.#buffer[this.#pos++] = Number(rest & 0x7fn) | 0x80;
    }
  }

  /** A field with a number. Writes nothing for 0, as in proto3. */
  number(tag: number, value: number): void {
    if (value === 0) return;
    this.byte(tag);
    this.varint(value);
  }

  /** A field of text or bytes, whose encoded length the caller has measured. */
  content(tag: number, value: string | Uint8Array, byteLength: number): void {
    this.byte(tag);
    this.varint(byteLength);
    if (typeof value === 'string') this.#buffer.write(value, this.#pos, byteLength, 'utf8');
    else if (byteLength <= byHandBytes) {
      for (let from = 0, to = this.#pos; from < byteLength; from++, to++) this.#buffer[to] = value[from]!;
    } else this.#buffer.set(value, this.#pos);
    this.#pos += byteLength;
  }
}

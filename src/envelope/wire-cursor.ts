/** The bytes are not well-formed protobuf. The caller adds what was being read. */
export class WireFault extends Error {
  override readonly name = 'WireFault';
}

/** The protobuf wire types in use. Groups are refused. */
export const WireType = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const;

/**
 * Moves over encoded protobuf without decoding it. Stricter than decoders have to be, because every language must
 * be able to decode what is stored: no bits above the 32 of a tag or a length (C++ refuses them), none above the
 * 64 of a varint (Go refuses them), no groups.
 *
 * `end` is always a limit within `bytes`: a field beyond it is a fault.
 */
export class WireCursor {
  bytes: Uint8Array = new Uint8Array(0);
  pos = 0;
  /** The halves of the number that `varint64` read last. */
  low = 0;
  high = 0;

  /** A tag or a length: at most five bytes. */
  varint32(end: number): number {
    const { bytes } = this;
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      if (this.pos >= end) throw new WireFault('ends within a number');
      const byte = bytes[this.pos++]!;
      if (shift === 28 && byte > 0x0f) throw new WireFault('a tag or length takes more than 32 bits');
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
    return value >>> 0;
  }

  /** Leaves the value in `low` and `high`. */
  varint64(end: number): void {
    const { bytes } = this;
    let low = 0;
    let high = 0;
    for (let shift = 0; ; shift += 7) {
      if (this.pos >= end) throw new WireFault('ends within a number');
      const byte = bytes[this.pos++]!;
      if (shift === 63 && byte > 1) throw new WireFault('a number takes more than 64 bits');
      const bits = byte & 0x7f;
      if (shift < 28) low |= bits << shift;
      else if (shift === 28) {
        low |= bits << 28;
        high = bits >>> 4;
      } else high |= bits << (shift - 32);
      if (byte < 0x80) break;
    }
    this.low = low >>> 0;
    this.high = high >>> 0;
  }

  tag(end: number): number {
    if (this.pos < end) {
      const byte = this.bytes[this.pos]!;
      if (byte < 0x80) {
        this.pos++;
        return byte;
      }
    }
    return this.varint32(end);
  }

  /** Reads the length of a `bytes`, `string` or message field. Returns its end. */
  fieldEnd(end: number): number {
    let length: number;
    if (this.pos < end && this.bytes[this.pos]! < 0x80) length = this.bytes[this.pos++]!;
    else length = this.varint32(end);
    const fieldEnd = this.pos + length;
    if (fieldEnd > end) throw new WireFault('a length points past its end');
    return fieldEnd;
  }

  /** Skips the value of an unknown field. */
  skip(tag: number, end: number): void {
    if (tag >>> 3 === 0) throw new WireFault('field number 0');
    switch (tag & 7) {
      case WireType.varint:
        this.varint64(end);
        return;
      case WireType.bytes:
        this.pos = this.fieldEnd(end);
        return;
      case WireType.fixed64:
        this.#step(8, end);
        return;
      case WireType.fixed32:
        this.#step(4, end);
        return;
      default:
        throw new WireFault(`field ${tag >>> 3} has wire type ${tag & 7}: groups are not supported`);
    }
  }

  #step(byteCount: number, end: number): void {
    if (this.pos + byteCount > end) throw new WireFault('ends within a number');
    this.pos += byteCount;
  }
}

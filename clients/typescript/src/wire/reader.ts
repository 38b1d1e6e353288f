import { SluiceError, StatusCode } from '../errors.js';

/**
 * Decodes protobuf by hand, in place, for message types that occur hundreds of thousands of times a second. The reader
 * moves from field to field. The generated code decodes all other types.
 */
export class WireReader {
  bytes: Buffer = Buffer.alloc(0);
  pos = 0;

  /** A number up to 2^53, which offsets and lengths are. */
  varint(): number {
    const { bytes } = this;
    let value = 0;
    for (let scale = 1; ; scale *= 0x80) {
      const byte = bytes[this.pos++];
      if (byte === undefined) throw malformed();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
  }

  /** An int64 of any sign. */
  int64(): bigint {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = this.bytes[this.pos++];
      if (byte === undefined || shift > 63n) throw malformed();
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asIntN(64, value);
    }
  }

  /** Reads the length of a field of bytes, text or a message, and returns where it ends. */
  fieldEnd(): number {
    const length = this.varint();
    const end = this.pos + length;
    if (end > this.bytes.length) throw malformed();
    return end;
  }

  /** Skips the value of an unknown field. */
  skip(tag: number): void {
    switch (tag & 7) {
      case 0:
        while (this.bytes[this.pos++]! >= 0x80);
        break;
      case 1:
        this.pos += 8;
        break;
      case 2:
        this.pos = this.fieldEnd();
        break;
      case 5:
        this.pos += 4;
        break;
      default:
        throw malformed();
    }
  }
}

function malformed(): SluiceError {
  const text = 'the broker sent bytes that are no protobuf message';
  return new SluiceError(text, { code: StatusCode.INTERNAL, reason: 'MALFORMED_RESPONSE' });
}

/** The five bytes before every gRPC message: not compressed, then its length. */
export const prefixBytes = 5;

/** An encoded message as it goes on the wire. */
export function frame(message: Uint8Array): Uint8Array {
  const framed = Buffer.allocUnsafe(prefixBytes + message.byteLength);
  framed[0] = 0;
  framed.writeUInt32BE(message.byteLength, 1);
  framed.set(message, prefixBytes);
  return framed;
}

/** Cuts a byte stream into messages. What it hands out is only valid during the call when it can be a view. */
export class FrameReader {
  readonly #onMessage: (message: Uint8Array) => void;
  /** A message that has begun: prefix included. */
  #partial: Uint8Array[] = [];
  #partialBytes = 0;
  /** Bytes that the partial message needs altogether; only its prefix while that is not complete. */
  #wantedBytes = prefixBytes;

  constructor(onMessage: (message: Uint8Array) => void) {
    this.#onMessage = onMessage;
  }

  /** True when the stream may end here. */
  get isAtBoundary(): boolean {
    return this.#partialBytes === 0;
  }

  push(chunk: Uint8Array): void {
    let rest = chunk;
    while (rest.byteLength > 0) {
      if (this.#partialBytes === 0 && rest.byteLength >= prefixBytes) {
        const end = prefixBytes + lengthOf(rest);
        if (rest.byteLength >= end) {
          this.#onMessage(rest.subarray(prefixBytes, end));
          rest = rest.subarray(end);
          continue;
        }
      }
      rest = this.#gather(rest);
    }
  }

  /** Takes what the partial message still needs, and returns what is left. */
  #gather(bytes: Uint8Array): Uint8Array {
    const taken = bytes.subarray(0, this.#wantedBytes - this.#partialBytes);
    this.#partial.push(taken);
    this.#partialBytes += taken.byteLength;
    if (this.#partialBytes === this.#wantedBytes) {
      const whole = Buffer.concat(this.#partial, this.#partialBytes);
      const endBytes = prefixBytes + lengthOf(whole);
      if (this.#wantedBytes === endBytes) {
        this.#partial = [];
        this.#partialBytes = 0;
        this.#wantedBytes = prefixBytes;
        this.#onMessage(whole.subarray(prefixBytes));
      } else {
        this.#partial = [whole];
        this.#wantedBytes = endBytes;
      }
    }
    return bytes.subarray(taken.byteLength);
  }
}

function lengthOf(prefixed: Uint8Array): number {
  if (prefixed[0] !== 0) throw new Error('a compressed gRPC message, although none was asked for');
  return ((prefixed[1]! << 24) | (prefixed[2]! << 16) | (prefixed[3]! << 8) | prefixed[4]!) >>> 0;
}

import { SluiceError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import { framePrefixBytes } from './grpc-js/framing.js';

export interface RequestDecoderOptions {
  /** The longest request. */
  readonly maxBytes: number;
  /** How far above that a request is still handed over, so that its refusal can name the batch. Default: not at all. */
  readonly readAboveBytes?: number;
  /** The method takes one request: a second one is refused. */
  readonly hasOneRequest: boolean;
  /** Makes room for a request before any of it is kept. Throws SluiceError where there is none. */
  readonly reserve?: (bytes: number) => void;
  /** A request has been handed over, complete. */
  readonly handedOver?: () => void;
  /** Ends the call: what it sends from now on is thrown away. */
  readonly refuse: (error: SluiceError) => void;
}

/**
 * Cuts the requests out of the bytes of a call, in place of the decoder of grpc-js. That one keeps what has arrived of a
 * request until the call is over, each part together with everything that the connection read at the same time; it has
 * one limit for all methods; and it does not tell that a call ends inside a request. This one refuses a request by its
 * length, and copies the parts into one block.
 */
export class RequestDecoder {
  readonly #options: RequestDecoderOptions;
  readonly #prefix = Buffer.alloc(framePrefixBytes);
  /** Bytes of the request so far, with its prefix. */
  #filledBytes = 0;
  #frame: Buffer | undefined;
  #state: 'reading' | 'complete' | 'closed' = 'reading';

  constructor(options: RequestDecoderOptions) {
    this.#options = options;
  }

  /** The requests that these bytes complete, each with its prefix. */
  write(data: Buffer): Buffer[] {
    const requests: Buffer[] = [];
    try {
      for (let at = 0; at < data.length && this.#state !== 'closed'; ) {
        if (this.#state === 'complete') throw moreThanOne();
        at += this.#take(data, at);
        if (this.#frame === undefined || this.#filledBytes < this.#frame.length) continue;
        requests.push(this.#frame);
        this.#frame = undefined;
        this.#filledBytes = 0;
        if (this.#options.hasOneRequest) this.#state = 'complete';
        this.#options.handedOver?.();
      }
      return requests;
    } catch (thrown) {
      this.close();
      this.#options.refuse(SluiceError.from(thrown));
      return [];
    }
  }

  /** A part of a request has arrived, and the rest has not. */
  get isInsideRequest(): boolean {
    return this.#filledBytes > 0;
  }

  /** Lets go of what it has, and keeps nothing any more. */
  close(): void {
    this.#state = 'closed';
    this.#frame = undefined;
    this.#filledBytes = 0;
  }

  /** Copies what belongs to the current request, and says how much that was. */
  #take(data: Buffer, at: number): number {
    const leftBytes = data.length - at;
    if (this.#filledBytes === 0 && leftBytes >= framePrefixBytes) {
      // The usual case: the prefix has arrived whole, and is copied together with the request.
      this.#frame = this.#allocate(data[at]! !== 0, data.readUInt32BE(at + 1));
    }
    const target = this.#frame ?? this.#prefix;
    const copiedBytes = Math.min(leftBytes, target.length - this.#filledBytes);
    copyBytes(data, at, target, this.#filledBytes, copiedBytes);
    this.#filledBytes += copiedBytes;
    if (target === this.#prefix && this.#filledBytes === framePrefixBytes) {
      this.#frame = this.#allocate(this.#prefix[0] !== 0, this.#prefix.readUInt32BE(1));
      this.#prefix.copy(this.#frame);
    }
    return copiedBytes;
  }

  #allocate(isCompressed: boolean, bytes: number): Buffer {
    const { maxBytes, readAboveBytes = 0, reserve } = this.#options;
    if (bytes > maxBytes + readAboveBytes) {
      const text = `the request has ${bytes} bytes; this method takes at most ${maxBytes}`;
      throw new SluiceError('REQUEST_TOO_LARGE', text);
    }
    reserve?.(isCompressed ? Math.max(maxBytes, limits.decompressionBytes) + bytes : bytes);
    return Buffer.allocUnsafe(framePrefixBytes + bytes);
  }
}

/** Up to here a loop is quicker than a call out of JavaScript. */
const byHandBytes = 128;

function copyBytes(source: Buffer, from: number, target: Buffer, to: number, byteLength: number): void {
  if (byteLength > byHandBytes) {
    source.copy(target, to, from, from + byteLength);
    return;
  }
  for (let i = 0; i < byteLength; i++) target[to + i] = source[from + i]!;
}

function moreThanOne(): SluiceError {
  return new SluiceError('MALFORMED_REQUEST', 'this method takes one request, and there are more');
}

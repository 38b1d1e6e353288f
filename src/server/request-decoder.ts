import { SluiceError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import { framePrefixBytes } from './framing.js';

export interface RequestDecoderOptions {
  /** The longest request. */
  readonly maxBytes: number;
  /** The method takes one request: a second one is refused. */
  readonly hasOneRequest: boolean;
  /** Makes room for a request before any of it is kept. Throws SluiceError where there is none. */
  readonly reserve: (bytes: number) => void;
  /** A request has been handed over, complete. */
  readonly handedOver: () => void;
  /** Ends the call: what it sends from now on is thrown away. */
  readonly refuse: (error: SluiceError) => void;
}

/**
 * Cuts the requests out of the bytes of a call, in place of the decoder of grpc-js. That one keeps what has arrived of a
 * request until the call is over, each part together with everything that the connection read at the same time; and it
 * has one limit for all methods. This one refuses a request by its length, and copies the parts into one block.
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
        this.#options.handedOver();
      }
      return requests;
    } catch (thrown) {
      this.close();
      this.#options.refuse(SluiceError.from(thrown));
      return [];
    }
  }

  /** Lets go of what it has, and keeps nothing any more. */
  close(): void {
    this.#state = 'closed';
    this.#frame = undefined;
  }

  /** Copies what belongs to the current request, and says how much that was. */
  #take(data: Buffer, at: number): number {
    const target = this.#frame ?? this.#prefix;
    const copied = data.copy(target, this.#filledBytes, at);
    this.#filledBytes += copied;
    if (target === this.#prefix && this.#filledBytes === framePrefixBytes) this.#begin();
    return copied;
  }

  #begin(): void {
    const { maxBytes, reserve } = this.#options;
    const bytes = this.#prefix.readUInt32BE(1);
    if (bytes > maxBytes) {
      const text = `the request has ${bytes} bytes; this method takes at most ${maxBytes}`;
      throw new SluiceError('REQUEST_TOO_LARGE', text);
    }
    const isCompressed = this.#prefix[0] !== 0;
    reserve(isCompressed ? Math.max(maxBytes, limits.decompressionBytes) + bytes : bytes);
    this.#frame = Buffer.allocUnsafe(framePrefixBytes + bytes);
    this.#prefix.copy(this.#frame);
  }
}

function moreThanOne(): SluiceError {
  return new SluiceError('MALFORMED_REQUEST', 'this method takes one request, and there are more');
}

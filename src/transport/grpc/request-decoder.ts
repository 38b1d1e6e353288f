import { messagePrefixBytes } from '../../api/message-prefix.js';
import { SluiceError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import { requestTooLarge } from '../../base/shared-errors.js';

export interface RequestDecoderOptions {
  /** The size limit of a request. */
  readonly maxBytes: number;
  /** How far above the limit a request is still passed on, so that its refusal can name the batch. Default: 0. */
  readonly readAboveBytes?: number;
  /** The method takes one request: a second one is refused. */
  readonly hasOneRequest: boolean;
  /** Reserves room for a request before any of it is kept. Throws SluiceError if there is none. */
  readonly reserve?: (bytes: number) => void;
  /** A complete request has been passed on. */
  readonly handedOver?: () => void;
  /** Ends the call at once: its later bytes are dropped. Without it, the refusal takes its turn behind the requests before. */
  readonly refuse?: (error: SluiceError) => void;
}

/** Stands for a refused request among those that `write` returns. */
const refusedRequest = Buffer.alloc(messagePrefixBytes);

/**
 * Splits the bytes of a call into requests, in place of the decoder of grpc-js. That one keeps the received parts
 * of a request until the call ends, each part together with everything that the connection read at the same time;
 * it has one limit for all methods; and it does not report that a call ends inside a request. This one refuses a
 * request by its length, and copies the parts into one block.
 */
export class RequestDecoder {
  readonly #options: RequestDecoderOptions;
  readonly #prefix = Buffer.alloc(messagePrefixBytes);
  /** Bytes of the request so far, including its prefix. */
  #filledBytes = 0;
  #frame: Buffer | undefined;
  #state: 'reading' | 'complete' | 'closed' = 'reading';
  #refusal: SluiceError | undefined;

  constructor(options: RequestDecoderOptions) {
    this.#options = options;
  }

  /** Returns the requests that these bytes complete, each with its prefix. */
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
      const error = SluiceError.from(thrown);
      const { refuse } = this.#options;
      if (refuse !== undefined) {
        refuse(error);
        return [];
      }
      this.#refusal = error;
      requests.push(refusedRequest);
      return requests;
    }
  }

  /** The refusal, if this is the content of the request that was refused. */
  refusalOf(content: Buffer): SluiceError | undefined {
    return content.buffer === refusedRequest.buffer ? this.#refusal : undefined;
  }

  /** A part of a request has arrived, but not the rest. */
  get isInsideRequest(): boolean {
    return this.#filledBytes > 0;
  }

  /** Drops what it has, and keeps nothing more. */
  close(): void {
    this.#state = 'closed';
    this.#frame = undefined;
    this.#filledBytes = 0;
  }

  /** Copies the bytes of the current request, and returns how many there were. */
  #take(data: Buffer, at: number): number {
    const leftBytes = data.length - at;
    if (this.#filledBytes === 0 && leftBytes >= messagePrefixBytes) {
      // The usual case: the whole prefix has arrived, and is copied together with the request.
      this.#frame = this.#allocate(data[at]! !== 0, data.readUInt32BE(at + 1));
    }
    const target = this.#frame ?? this.#prefix;
    const copiedBytes = Math.min(leftBytes, target.length - this.#filledBytes);
    copyBytes(data, at, target, this.#filledBytes, copiedBytes);
    this.#filledBytes += copiedBytes;
    if (target === this.#prefix && this.#filledBytes === messagePrefixBytes) {
      this.#frame = this.#allocate(this.#prefix[0] !== 0, this.#prefix.readUInt32BE(1));
      this.#prefix.copy(this.#frame);
    }
    return copiedBytes;
  }

  #allocate(isCompressed: boolean, bytes: number): Buffer {
    const { maxBytes, readAboveBytes = 0, reserve } = this.#options;
    if (bytes > maxBytes + readAboveBytes) {
      throw requestTooLarge(bytes, maxBytes);
    }
    reserve?.(isCompressed ? Math.max(maxBytes, limits.decompressionBytes) + bytes : bytes);
    return Buffer.allocUnsafe(messagePrefixBytes + bytes);
  }
}

/** Up to this length, a loop is faster than a call of native code. */
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

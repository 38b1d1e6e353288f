import { SluiceError } from '../base/errors.js';
import { fairShare } from '../base/fair-share.js';
import { limits } from '../base/limits.js';
import { secondMs } from '../base/units.js';

export interface ReceiveWindowOptions {
  /** A stream's window while there are few producers. */
  readonly streamWindowBytes: number;
  /** Memory for what producers have sent and the broker has not read, over all of them. */
  readonly receiveBytes: number;
  /** Changes the window of every stream, open or to come. */
  readonly apply: (streamWindowBytes: number) => void;
}

/**
 * The receive windows of producers' streams: what a producer that is held may leave with the broker. The more of them
 * there are, the smaller the windows, in steps, as each step has to be told to every connection.
 */
export class ReceiveWindows {
  readonly #options: ReceiveWindowOptions;
  #producerCount = 0;
  #windowBytes: number;

  constructor(options: ReceiveWindowOptions) {
    this.#options = options;
    this.#windowBytes = options.streamWindowBytes;
  }

  get windowBytes(): number {
    return this.#windowBytes;
  }

  /** Throws TOO_MANY_STREAMS where another producer could fill more memory than there is. */
  enter(): void {
    const mostProducers = this.#options.receiveBytes / 2 / this.#smallestBytes;
    if (this.#producerCount >= mostProducers) {
      const text = `${this.#producerCount} producers' streams are open, and there is no memory for more: close some, or raise --max-in-flight-bytes`;
      throw new SluiceError('TOO_MANY_STREAMS', text, { retryAfterMs: secondMs });
    }
    this.#producerCount++;
    this.#adjust();
  }

  leave(): void {
    this.#producerCount--;
    this.#adjust();
  }

  get #smallestBytes(): number {
    return Math.min(limits.smallestSharedWindowBytes, this.#options.streamWindowBytes);
  }

  #adjust(): void {
    const { receiveBytes, streamWindowBytes, apply } = this.#options;
    const bounds = {
      totalBytes: receiveBytes,
      smallestBytes: this.#smallestBytes,
      largestBytes: streamWindowBytes,
    };
    const windowBytes = fairShare(bounds, nextPowerOfTwo(this.#producerCount));
    if (windowBytes === this.#windowBytes) return;
    this.#windowBytes = windowBytes;
    apply(windowBytes);
  }
}

function nextPowerOfTwo(count: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(1, count)));
}

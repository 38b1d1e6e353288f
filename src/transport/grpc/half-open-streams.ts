import type { Clock, Timer } from '../../base/clock.js';
import { limits } from '../../base/limits.js';
import { secondMs } from '../../base/units.js';

/** A stream that has its status, and whose client has not closed its half. */
export interface HalfOpenStream {
  /** Both halves are closed, or the stream was reset. */
  readonly isClosed: boolean;
  /** The status has left for the transport: a reset can't overtake it. */
  readonly hasLeft: boolean;
  /** Closes the client's half. */
  close(): void;
}

/**
 * Streams that are answered and that HTTP/2 keeps open because their client has not closed its half. They count neither
 * against the limit of streams nor against that of calls. Closes each after a time; the oldest ones earlier when they are
 * many.
 */
export class HalfOpenStreams {
  readonly #clock: Clock;
  /** Since when they are half open. The oldest are first. */
  readonly #streams = new Map<HalfOpenStream, number>();
  #sweep: Timer | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get count(): number {
    return this.#streams.size;
  }

  add(stream: HalfOpenStream): void {
    this.#streams.set(stream, this.#clock.monotonicMs());
    this.#sweepLater();
  }

  #sweepLater(): void {
    this.#sweep ??= this.#clock.after(secondMs, () => {
      this.#sweep = undefined;
      this.#closeOverdue();
      if (this.#streams.size > 0) this.#sweepLater();
    });
  }

  #closeOverdue(): void {
    const nowMs = this.#clock.monotonicMs();
    for (const [stream, sinceMs] of this.#streams) {
      if (stream.isClosed) {
        this.#streams.delete(stream);
        continue;
      }
      const limitMs =
        this.#streams.size > limits.halfOpenStreams ? limits.leastHalfOpenMs : limits.halfOpenMs;
      if (nowMs - sinceMs < limitMs || !stream.hasLeft) continue;
      this.#streams.delete(stream);
      stream.close();
    }
  }
}

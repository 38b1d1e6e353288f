/** What is granted at first: enough to see how fast the processing is. */
const firstCredit = 1_000;
const leastCredit = 16;
/** A second's worth, and as much again for what is on its way. */
const headroom = 2;
/** Changes that are smaller are not worth a request. */
const growth = 1.25;
const shrinkage = 0.5;

/**
 * How many messages the broker may let be outstanding: what is processed in about a second. More would only wait here
 * while other consumers have nothing to do.
 */
export class Credit {
  readonly #least: number;
  readonly #most: number;
  #granted: number;
  #settledCount = 0;
  #perSecond = 0;
  #measuredAtMs: number;

  constructor(maxOutstandingMessages: number, concurrency: number, nowMs: number) {
    this.#most = maxOutstandingMessages;
    // Nobody who could work is to wait for a message.
    this.#least = Math.min(this.#most, Math.max(leastCredit, 2 * concurrency));
    this.#granted = Math.min(this.#most, Math.max(firstCredit, this.#least));
    this.#measuredAtMs = nowMs;
  }

  get granted(): number {
    return this.#granted;
  }

  settled(): void {
    this.#settledCount++;
  }

  /** Called now and then, with how many are held: says whether what is granted has changed. */
  adapt(heldCount: number, nowMs: number): boolean {
    const elapsedMs = nowMs - this.#measuredAtMs;
    if (elapsedMs <= 0) return false;
    const perSecond = (this.#settledCount * 1000) / elapsedMs;
    this.#settledCount = 0;
    this.#measuredAtMs = nowMs;
    // Growth counts at once; what slows down does so over a few measurements.
    this.#perSecond = Math.max(perSecond, this.#perSecond / 2);
    const wanted = Math.ceil(headroom * this.#perSecond);
    const target = Math.max(this.#least, Math.min(this.#most, wanted));
    const isMore = target >= this.#granted * growth || (target === this.#most && this.#granted < target);
    // Few settlements may also mean that there is nothing to do.
    const isLess = target <= this.#granted * shrinkage && heldCount > target;
    if (!isMore && !isLess) return false;
    this.#granted = target;
    return true;
  }
}

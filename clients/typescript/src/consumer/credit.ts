/** The first and the smallest credit: small, so that idle consumers share a burst. */
const leastCredit = 16;
/** The credit is the number of messages of this many seconds: one for processing, one for messages in transit. */
const headroom = 2;
/** The credit is too small if all of it is settled within this time. */
const fastTurnoverMs = 1_000;
/** Smaller changes are not sent. */
const growth = 1.25;
const shrinkage = 0.5;

/**
 * The message credit: about the number of messages that are processed in a second. More messages would only wait here,
 * while other consumers are idle.
 */
export class Credit {
  readonly #least: number;
  readonly #most: number;
  #granted: number;
  #settledCount = 0;
  #perSecond = 0;
  #measuredAtMs: number;
  /** The messages settled since the last change of the credit, and the time of that change. */
  #turnoverCount = 0;
  #grantedAtMs: number;

  constructor(maxOutstandingMessages: number, concurrency: number, nowMs: number) {
    this.#most = maxOutstandingMessages;
    // There is a message for each free handler.
    this.#least = Math.min(this.#most, Math.max(leastCredit, 2 * concurrency));
    this.#granted = this.#least;
    this.#measuredAtMs = nowMs;
    this.#grantedAtMs = nowMs;
  }

  get granted(): number {
    return this.#granted;
  }

  /** One message is settled. True if the whole credit was settled: then the caller calls `turnedOver`. */
  settled(): boolean {
    this.#settledCount++;
    this.#turnoverCount++;
    return this.#turnoverCount >= this.#granted;
  }

  /** The whole credit was settled. Doubles the credit if that took less than a second. True if it has changed. */
  turnedOver(nowMs: number): boolean {
    const isFast = nowMs - this.#grantedAtMs <= fastTurnoverMs;
    this.#beginTurnover(nowMs);
    if (!isFast || this.#granted === this.#most) return false;
    this.#granted = Math.min(this.#most, 2 * this.#granted);
    return true;
  }

  /** Raises the credit to this number, and at least to twice its value. True if it has changed. */
  raise(least: number): boolean {
    if (this.#granted >= least || this.#granted === this.#most) return false;
    this.#granted = Math.min(this.#most, Math.max(least, 2 * this.#granted));
    return true;
  }

  /** Called at intervals with the number of held messages. True if the credit has changed. */
  adapt(heldCount: number, nowMs: number): boolean {
    const elapsedMs = nowMs - this.#measuredAtMs;
    if (elapsedMs <= 0) return false;
    const perSecond = (this.#settledCount * 1000) / elapsedMs;
    this.#settledCount = 0;
    this.#measuredAtMs = nowMs;
    // A higher rate counts at once, a lower rate over a few measurements.
    this.#perSecond = Math.max(perSecond, this.#perSecond / 2);
    const wanted = Math.ceil(headroom * this.#perSecond);
    const target = Math.max(this.#least, Math.min(this.#most, wanted));
    const isMore = target >= this.#granted * growth || (target === this.#most && this.#granted < target);
    // There may be few settlements because there are few messages.
    const isLess = target <= this.#granted * shrinkage && heldCount > target;
    if (!isMore && !isLess) return false;
    this.#granted = target;
    this.#beginTurnover(nowMs);
    return true;
  }

  #beginTurnover(nowMs: number): void {
    this.#turnoverCount = 0;
    this.#grantedAtMs = nowMs;
  }
}

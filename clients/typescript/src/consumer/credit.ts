/** What is granted at first, and at least: little, so that consumers that are idle share what comes. */
const leastCredit = 16;
/** A second's worth, and as much again for what is on its way. */
const headroom = 2;
/** What is granted is too little if all of it is settled within this. */
const fastTurnoverMs = 1_000;
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
  /** Settled since the last grant, and when that was. */
  #turnoverCount = 0;
  #grantedAtMs: number;

  constructor(maxOutstandingMessages: number, concurrency: number, nowMs: number) {
    this.#most = maxOutstandingMessages;
    // A handler that is free never waits for a message.
    this.#least = Math.min(this.#most, Math.max(leastCredit, 2 * concurrency));
    this.#granted = this.#least;
    this.#measuredAtMs = nowMs;
    this.#grantedAtMs = nowMs;
  }

  get granted(): number {
    return this.#granted;
  }

  /** One message is settled. True: as many as are granted have been, and `turnedOver` is to be called. */
  settled(): boolean {
    this.#settledCount++;
    this.#turnoverCount++;
    return this.#turnoverCount >= this.#granted;
  }

  /** As many as are granted have been settled: doubles, if that was within a second. Says whether it has changed. */
  turnedOver(nowMs: number): boolean {
    const isFast = nowMs - this.#grantedAtMs <= fastTurnoverMs;
    this.#beginTurnover(nowMs);
    if (!isFast || this.#granted === this.#most) return false;
    this.#granted = Math.min(this.#most, 2 * this.#granted);
    return true;
  }

  /** Grants at least so many, and at least twice as many as now. Says whether it has changed. */
  raise(least: number): boolean {
    if (this.#granted >= least || this.#granted === this.#most) return false;
    this.#granted = Math.min(this.#most, Math.max(least, 2 * this.#granted));
    return true;
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
    this.#beginTurnover(nowMs);
    return true;
  }

  #beginTurnover(nowMs: number): void {
    this.#turnoverCount = 0;
    this.#grantedAtMs = nowMs;
  }
}

export interface BackoffOptions {
  readonly retryMinBackoffMs: number;
  readonly retryMaxBackoffMs: number;
}

/** How long to wait between tries: doubling, with jitter, and never shorter than the broker asked for. */
export class Backoff {
  readonly #options: BackoffOptions;
  #failures = 0;

  constructor(options: BackoffOptions) {
    this.#options = options;
  }

  /** It works again. */
  reset(): void {
    this.#failures = 0;
  }

  /** Something failed again: how long to wait now. */
  nextMs(askedMs = 0): number {
    const { retryMinBackoffMs, retryMaxBackoffMs } = this.#options;
    const mostMs = Math.min(retryMaxBackoffMs, retryMinBackoffMs * 2 ** Math.min(this.#failures, 30));
    this.#failures++;
    return Math.max(askedMs, mostMs * (0.5 + Math.random() / 2));
  }
}

/** Waits, but no longer than until the signal is aborted. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) {
      resolve();
      return;
    }
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal?.addEventListener('abort', end, { once: true });
  });
}

export interface BackoffOptions {
  readonly retryMinBackoffMs: number;
  readonly retryMaxBackoffMs: number;
}

/** The pauses between retries. They double, with jitter, and are never shorter than the broker's retry delay. */
export class Backoff {
  readonly #options: BackoffOptions;
  #failures = 0;

  constructor(options: BackoffOptions) {
    this.#options = options;
  }

  /** Resets the pause after a success. */
  reset(): void {
    this.#failures = 0;
  }

  /** The pause after a further failure. */
  nextMs(askedMs = 0): number {
    const { retryMinBackoffMs, retryMaxBackoffMs } = this.#options;
    const mostMs = Math.min(retryMaxBackoffMs, retryMinBackoffMs * 2 ** Math.min(this.#failures, 30));
    this.#failures++;
    return Math.max(askedMs, mostMs * (0.5 + Math.random() / 2));
  }
}

/** Waits for the time to pass or for the signal to be aborted. */
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

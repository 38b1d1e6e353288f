/**
 * Where producers wait: while the gate is shut no stream is read, and HTTP/2 flow control holds the producer.
 * First come, first served; whoever is let in may shut the gate for the next.
 */
export class PublishGate {
  readonly #isOpen: () => boolean;
  readonly #waiting = new Set<() => void>();

  constructor(isOpen: () => boolean) {
    this.#isOpen = isOpen;
  }

  get waitingCount(): number {
    return this.#waiting.size;
  }

  /** Calls `enter` once: now if the gate is open, else when it opens. Returns how to give up waiting. */
  pass(enter: () => void): () => void {
    if (this.#isOpen()) {
      enter();
      return () => {};
    }
    this.#waiting.add(enter);
    return () => this.#waiting.delete(enter);
  }

  /** To be called when the gate may have opened. */
  admit(): void {
    for (const enter of this.#waiting) {
      if (!this.#isOpen()) return;
      this.#waiting.delete(enter);
      enter();
    }
  }
}

/** A queue of callers that wait for room: first come, first served, one at a time. */
export class Gate {
  readonly #hasRoom: () => boolean;
  #waiting: (() => void)[] = [];
  #head = 0;
  /** A caller was admitted and has not taken its room yet. */
  #isPassing = false;

  constructor(hasRoom: () => boolean) {
    this.#hasRoom = hasRoom;
  }

  /** Whether there is room and no caller waits. */
  get isOpen(): boolean {
    return !this.#isPassing && this.#head === this.#waiting.length && this.#hasRoom();
  }

  /** Resolves when it is the caller's turn. The caller must call `passed` or `changed` before it awaits anything else. */
  pass(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** The admitted caller has taken its room. */
  passed(): void {
    this.#isPassing = false;
    this.changed();
  }

  /** There may be room. */
  changed(): void {
    if (this.#isPassing || this.#head === this.#waiting.length || !this.#hasRoom()) return;
    const next = this.#waiting[this.#head++]!;
    if (this.#head === this.#waiting.length) {
      this.#waiting = [];
      this.#head = 0;
    }
    this.#isPassing = true;
    next();
  }
}

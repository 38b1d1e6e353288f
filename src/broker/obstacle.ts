import type { SluiceError } from '../base/errors.js';
import type { HoldReason } from './types.js';

/** Something that keeps producers from going on for a while. */
export interface Obstacle {
  readonly holdReason: HoldReason;
  readonly isInTheWay: boolean;
  /** Calls `enter` once, when it is out of the way. Returns how to give up waiting. */
  wait(enter: () => void): () => void;
}

/** One that some producers would rather be refused for than held by: a full backlog, a nearly full disk. */
export interface RefusingObstacle extends Obstacle {
  refusal(): SluiceError;
}

/** Those who are held, in the order in which they came. */
export class Waiters {
  readonly #waiting = new Set<() => void>();

  get count(): number {
    return this.#waiting.size;
  }

  /** Returns how to give up waiting. */
  add(enter: () => void): () => void {
    this.#waiting.add(enter);
    return () => this.#waiting.delete(enter);
  }

  /** Takes out the one that came first. */
  takeFirst(): (() => void) | undefined {
    for (const enter of this.#waiting) {
      this.#waiting.delete(enter);
      return enter;
    }
    return undefined;
  }

  /** Lets them in, one after the other, for as long as the way is open: whoever is let in may shut it. */
  admit(isOpen: () => boolean): void {
    for (const enter of this.#waiting) {
      if (!isOpen()) return;
      this.#waiting.delete(enter);
      enter();
    }
  }
}

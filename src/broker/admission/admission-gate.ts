import type { SluiceError } from '../../base/errors.js';
import type { HoldReason } from '../types.js';

/** A condition that keeps producers from publishing for a while. */
export interface AdmissionGate {
  readonly holdReason: HoldReason;
  /** Calls `enter` once, as soon as the gate is open. Returns a function that gives up waiting. */
  wait(enter: () => void): () => void;
}

/** A gate where the settings of a topic may refuse its producers instead of holding them: a full backlog, a nearly full disk. */
export interface RefusingGate extends AdmissionGate {
  refusal(): SluiceError;
}

/** Callers that wait at a gate, in the order in which they came. */
export class Waiters {
  readonly #waiting = new Set<() => void>();

  get count(): number {
    return this.#waiting.size;
  }

  /** Returns a function that gives up waiting. */
  add(enter: () => void): () => void {
    this.#waiting.add(enter);
    return () => this.#waiting.delete(enter);
  }

  /** Removes the caller that came first. */
  takeFirst(): (() => void) | undefined {
    for (const enter of this.#waiting) {
      this.#waiting.delete(enter);
      return enter;
    }
    return undefined;
  }

  /** Admits one caller after another while the gate is open; each admitted caller may close it. */
  admit(isOpen: () => boolean): void {
    for (const enter of this.#waiting) {
      if (!isOpen()) return;
      this.#waiting.delete(enter);
      enter();
    }
  }
}

import { draining } from '../base/shared-errors.js';

/** Whether the broker takes new work: until it drains. */
export class Serving {
  #isDraining = false;

  /** Throws DRAINING once the broker drains. */
  check(): void {
    if (this.#isDraining) throw draining();
  }

  drain(): void {
    this.#isDraining = true;
  }
}

import { type Obstacle, Waiters } from './obstacle.js';

/**
 * The writer's queue, as producers meet it: while it is full no stream is read, and HTTP/2 flow control holds the
 * producers. First come, first served.
 */
export class PublishGate implements Obstacle {
  readonly holdReason = 'writer';
  readonly #hasRoom: () => boolean;
  readonly #waiters = new Waiters();

  constructor(hasRoom: () => boolean) {
    this.#hasRoom = hasRoom;
  }

  get isInTheWay(): boolean {
    return !this.#hasRoom();
  }

  wait(enter: () => void): () => void {
    return this.#waiters.add(enter);
  }

  /** To be called when there may be room. */
  admit(): void {
    this.#waiters.admit(this.#hasRoom);
  }
}

import type { Clock, Timer } from '../base/clock.js';
import { limits } from '../base/limits.js';
import { type Obstacle, Waiters } from './obstacle.js';

export interface PublishGateServices {
  readonly clock: Clock;
  /** What the writer's queue still takes; negative when it holds more than it should. */
  readonly roomBytes: () => number;
}

/**
 * The writer's queue, as producers meet it: while it is full no stream is read, and HTTP/2 flow control holds the
 * producers. First come, first served, and no more of them at once than there is room for: whoever is let in holds room
 * for a request like its last one until it comes, or a moment has passed without one.
 */
export class PublishGate implements Obstacle {
  readonly holdReason = 'writer';
  readonly #services: PublishGateServices;
  readonly #waiters = new Waiters();
  #reservedBytes = 0;
  /** Reservations of earlier rounds have lapsed. */
  #round = 0;
  #lapse: Timer | undefined;

  constructor(services: PublishGateServices) {
    this.#services = services;
  }

  get isInTheWay(): boolean {
    return this.#services.roomBytes() < this.#reservedBytes;
  }

  /** `enter` is handed how to give back the room that was kept for it. */
  wait(enter: (arrived: () => void) => void, requestBytes = 0): () => void {
    return this.#waiters.add(() => enter(this.#reserve(requestBytes)));
  }

  /** To be called when there may be room. */
  admit(): void {
    this.#waiters.admit(() => !this.isInTheWay);
  }

  #reserve(bytes: number): () => void {
    this.#reservedBytes += bytes;
    this.#lapse ??= this.#services.clock.after(limits.admissionMs, () => this.#lapsed());
    const round = this.#round;
    let isHeld = true;
    return () => {
      if (isHeld && round === this.#round) this.#reservedBytes -= bytes;
      isHeld = false;
    };
  }

  /** Who has not sent anything by now is idle, and must not keep the others out. */
  #lapsed(): void {
    this.#lapse = undefined;
    this.#round++;
    this.#reservedBytes = 0;
    this.admit();
  }
}

import type { Outbox } from './outbox.js';
import type { Session } from './session.js';

/**
 * The sessions that wait for something to do where all of them could do it. News wake one of them, the one with
 * the most credit left; who then finds more than it takes leads to the next being woken. So one message for five
 * thousand idle consumers is not five thousand questions.
 */
export class Crowd {
  readonly #outbox: Outbox;
  readonly #waiting = new Set<Session>();

  constructor(outbox: Outbox) {
    this.#outbox = outbox;
  }

  enter(session: Session): void {
    this.#waiting.add(session);
  }

  leave(session: Session): void {
    this.#waiting.delete(session);
  }

  wakeOne(): void {
    let richest: Session | undefined;
    for (const session of this.#waiting) {
      if (session.lackOfCredit !== undefined) continue;
      if (richest === undefined || session.messagesLeft > richest.messagesLeft) richest = session;
    }
    if (richest === undefined) return;
    this.#waiting.delete(richest);
    this.#outbox.ready(richest);
  }
}

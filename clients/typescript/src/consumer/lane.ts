import { Fifo } from '../fifo.js';

/** Messages that have to be handled one after the other: those of a partition, or of a key in it. */
export class Lane<Message> {
  readonly name: string | undefined;
  readonly queue = new Fifo<Message>();
  /** A handler is at work on one of its messages. */
  isBusy = false;
  /** Nacks that have no answer yet: until then it is not known what the broker has taken back. */
  unansweredNacks = 0;
  /** Stands among those that have something to do. */
  isListed = false;

  /** Without a name: what is in it has no order, and may be handled all at once. */
  constructor(name: string | undefined) {
    this.name = name;
  }

  get isOrdered(): boolean {
    return this.name !== undefined;
  }
}

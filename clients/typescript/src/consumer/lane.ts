import { Fifo } from '../fifo.js';

/** Messages that have to be handled one after the other: those of a partition, or of a key in it. */
export class Lane<Message> {
  readonly name: string | undefined;
  readonly queue = new Fifo<Message>();
  /** A handler is at work on one of its messages. */
  isBusy = false;
  /** Nacks without an answer: the client does not know yet which messages the broker has taken back. */
  unansweredNacks = 0;
  /** Whether the lane is in the list of ready lanes. */
  isListed = false;

  /** Without a name, its messages have no order, and handlers may process them in parallel. */
  constructor(name: string | undefined) {
    this.name = name;
  }

  get isOrdered(): boolean {
    return this.name !== undefined;
  }
}

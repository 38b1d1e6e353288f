import { Fifo } from '../fifo.js';

/** Messages that are handled one after another: those of a partition, or of a key in a partition. */
export class Lane<Message> {
  readonly name: string | undefined;
  readonly queue = new Fifo<Message>();
  /** Whether a handler has one of its messages. */
  isBusy = false;
  /** Nacks without an answer: the client does not know yet which messages the broker has taken back. */
  unansweredNacks = 0;
  /** Whether the lane is in the list of ready lanes. */
  isListed = false;

  /** In a lane without a name, messages have no order, and handlers may process them in parallel. */
  constructor(name: string | undefined) {
    this.name = name;
  }

  get isOrdered(): boolean {
    return this.name !== undefined;
  }
}

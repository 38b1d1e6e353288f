import type { Delivery } from '@sluice/client';
import type { CaseMessage } from './cases.js';

const mostProblems = 100;

/** Compares what comes with what was sent, and records which acknowledgements are durable. */
export class Check {
  readonly #messages: readonly CaseMessage[];
  /** Indexes of the messages that may be meant by a key and a payload, in their order. */
  readonly #wanted = new Map<string, number[]>();
  readonly #handled = new Set<string>();
  readonly #durable = new Set<string>();
  readonly #lastOfKey = new Map<string, number>();
  readonly problems: string[] = [];
  receivedCount = 0;
  redeliveredCount = 0;

  constructor(messages: readonly CaseMessage[]) {
    this.#messages = messages;
    for (const [index, message] of messages.entries()) {
      const name = nameOf(message);
      const indexes = this.#wanted.get(name);
      if (indexes === undefined) this.#wanted.set(name, [index]);
      else indexes.push(index);
    }
  }

  /** Every message was handled. */
  get isHandled(): boolean {
    return this.receivedCount >= this.#messages.length;
  }

  /** And every acknowledgement is durable. */
  get isDurable(): boolean {
    return this.#durable.size >= this.#messages.length;
  }

  /** Acknowledges, and goes on without the answer. */
  handle(delivery: Delivery): void {
    const place = `${delivery.partition}/${delivery.offset}`;
    if (this.#durable.has(place)) this.#problem(place, 'comes again although its acknowledgement is durable');
    if (this.#handled.has(place)) this.redeliveredCount++;
    else this.#firstTime(delivery, place);
    void delivery.ack().then((isDurable) => {
      if (isDurable) this.#durable.add(place);
    });
  }

  #firstTime(delivery: Delivery, place: string): void {
    this.#handled.add(place);
    this.receivedCount++;
    const indexes = this.#wanted.get(nameOf(delivery)) ?? [];
    const at = Math.max(
      0,
      indexes.findIndex((index) => differenceOf(this.#messages[index]!, delivery) === undefined),
    );
    const [index] = indexes.splice(at, 1);
    if (index === undefined) {
      this.#problem(place, `was never sent: ${nameOf(delivery).slice(0, 80)}`);
      return;
    }
    const difference = differenceOf(this.#messages[index]!, delivery);
    if (difference !== undefined) this.#problem(place, difference);
    if (delivery.key.length === 0) return;
    const key = delivery.key.toString('latin1');
    if (index < (this.#lastOfKey.get(key) ?? -1)) this.#problem(place, `its key ${key} is out of order`);
    this.#lastOfKey.set(key, index);
  }

  #problem(place: string, text: string): void {
    if (this.problems.length < mostProblems) this.problems.push(`${place}: ${text}`);
  }
}

function nameOf({ key, payload }: { readonly key: Buffer; readonly payload: Buffer }): string {
  return `${key.toString('latin1')}\n${payload.toString('latin1')}`;
}

/** What is not as it was sent, if anything. Key and payload are alike. */
function differenceOf(message: CaseMessage, delivery: Delivery): string | undefined {
  const sent = Object.entries(message.headers).sort();
  const found = Object.entries(delivery.headers).sort();
  if (JSON.stringify(sent) !== JSON.stringify(found)) return `headers are ${JSON.stringify(found)}`;
  const { eventTimestamp } = delivery;
  const isSameTime =
    message.eventTime?.seconds === eventTimestamp?.seconds &&
    message.eventTime?.nanos === eventTimestamp?.nanos;
  return isSameTime ? undefined : `event time is ${eventTimestamp?.seconds} s, ${eventTimestamp?.nanos} ns`;
}

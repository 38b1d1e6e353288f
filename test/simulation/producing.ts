import type { Draft } from './messages.js';
import { Producer, type ProducerName } from './producer.js';
import { keys } from './reference-model.js';
import type { World } from './world.js';

/** Of one producer name that are not fenced. */
const mostProcesses = 3;

/** Starts the processes that produce, and publishes with them. */
export class Producing {
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
  }

  addProducer(name: ProducerName, mayBeRefused: boolean): void {
    const producer = new Producer(name, mayBeRefused, this.#world);
    producer.connect(this.#world.host.broker);
    this.#world.producers.push(producer);
  }

  /** Starts another process under a name that is in use. The processes that have the name may still send. */
  startProcess(): void {
    const { chance, producers } = this.#world;
    const named = producers.filter(({ isNamed }) => isNamed);
    const names = new Set(named.map(({ name }) => name));
    const name = chance.pick([...names]);
    if (name === undefined) return;
    const sending = named.filter((producer) => producer.name === name && !producer.isFenced);
    if (sending.length >= mostProcesses) return;
    this.#world.trace(`  "${name.id}" of ${name.topic}`);
    this.addProducer(name, false);
  }

  publish(): void {
    const { chance, host, producers } = this.#world;
    const producer = chance.pick(producers.filter(({ isFenced }) => !isFenced));
    if (producer === undefined) return;
    const partitionCount = host.broker.getTopic(producer.topic).partitions.length;
    const hasPartition = chance.oneIn(4);
    const partition = hasPartition ? chance.below(partitionCount) : undefined;
    const drafts = Array.from(
      { length: 1 + chance.below(6) },
      (): Draft => ({
        id: `m${this.#world.nextNumber()}`,
        key: chance.pick(keys)!,
        padding: chance.below(60),
      }),
    );
    this.#world.trace(
      `  ${producer.topic}/${partition ?? '-'} by "${producer.id}": ${drafts.map((d) => d.id + d.key)}`,
    );
    producer.publish(drafts, partition);
  }
}

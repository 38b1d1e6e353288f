import type { StartPosition } from '../../src/base/model.js';
import type { PartitionInfo } from '../../src/broker/types.js';
import type { ReferenceSubscription, ReferenceTopic } from './reference-model.js';

/**
 * One seek. It takes effect with the first cursor that the broker submits for the subscription after it knows the
 * offset for every partition: at once, or for a seek by time in the step of the last lookup.
 */
export class Seek {
  readonly subscriptionId: number;
  readonly #position: StartPosition;
  readonly #partitionCount: number;
  /** The offsets that are known, by partition. */
  readonly #targets = new Map<number, number>();
  /** The broker submits the cursors of the seek in this step. */
  #isDue: boolean;

  constructor(subscriptionId: number, position: StartPosition, partitions: readonly PartitionInfo[]) {
    this.subscriptionId = subscriptionId;
    this.#position = position;
    this.#partitionCount = partitions.length;
    this.#isDue = position.kind !== 'time';
    for (const { partition, firstOffset, nextOffset } of partitions) {
      if (position.kind === 'earliest') this.#targets.set(partition, firstOffset);
      else if (position.kind === 'latest') this.#targets.set(partition, nextOffset);
      else if (position.kind === 'offset') this.#targets.set(partition, position.offset);
    }
  }

  get isDue(): boolean {
    return this.#isDue;
  }

  beginStep(): void {
    this.#isDue = false;
  }

  /** The broker knows the offset that a time has. The time tells the lookups of this seek from others. */
  lookedUp(partition: number, timeMs: number, offset: number): void {
    if (this.#position.kind !== 'time' || this.#position.timeMs !== timeMs) return;
    this.#targets.set(partition, offset);
    this.#isDue = this.#targets.size === this.#partitionCount;
  }

  apply({ model }: ReferenceSubscription, { floors }: ReferenceTopic): void {
    for (const [partition, offset] of this.#targets) {
      model.seek(partition, Math.max(offset, floors[partition]!));
    }
  }
}

import type { CursorState } from '../../src/base/positions.js';
import type { Change, CursorUpdate, Transaction } from '../../src/storage/types.js';
import { changesOfKind } from '../support/changes.js';
import type { SimulationEvent } from './actions.js';
import type { StorageWatcher } from './held-storage.js';
import type { ReferenceModel } from './reference-model.js';
import type { Seek } from './seek.js';

/** The part of a run that the checks read, and the seek that they end. */
export interface CheckedWorld {
  readonly reference: ReferenceModel;
  seek: Seek | undefined;
  count(event: SimulationEvent): void;
  guard(check: () => void): void;
}

/** Compares what the broker tells its store with the reference model, and keeps the model up to date. */
export class StorageChecks implements StorageWatcher {
  readonly #world: CheckedWorld;
  #submittedCount = 0;
  #committedCount = 0;

  constructor(world: CheckedWorld) {
    this.#world = world;
  }

  /** Transactions that the running broker has submitted. */
  get submittedCount(): number {
    return this.#submittedCount;
  }

  /** Transactions of which the running broker knows that they are on the disk. */
  get committedCount(): number {
    return this.#committedCount;
  }

  restarted(): void {
    this.#submittedCount = 0;
    this.#committedCount = 0;
  }

  submitted(transaction: Transaction, firstOffsets: readonly number[]): void {
    this.#world.guard(() => this.#submitted(transaction, firstOffsets));
  }

  committed(transaction: Transaction, firstOffsets: readonly number[]): void {
    this.#committedCount += 1;
    this.#world.guard(() => this.#world.reference.committed(transaction, firstOffsets));
  }

  recovered(subscriptionId: number, cursors: ReadonlyMap<number, CursorState>): void {
    this.#world.guard(() => {
      for (const [partition, cursor] of cursors) {
        this.#world.reference.checkCursors(subscriptionId, partition, cursor);
      }
    });
  }

  removing(topicId: number, partition: number, offset: number): void {
    this.#world.count('removal');
    this.#world.guard(() => this.#world.reference.checkRemoval(topicId, partition, offset));
  }

  lookedUp(partition: number, timeMs: number, offset: number): void {
    this.#world.seek?.lookedUp(partition, timeMs, offset);
  }

  #submitted(transaction: Transaction, firstOffsets: readonly number[]): void {
    const { reference, seek } = this.#world;
    this.#submittedCount += 1;
    const { changes = [] } = transaction;
    const has = (kind: Change['kind']) => changes.some((change) => change.kind === kind);
    const cursors = has('subscription') ? [] : changesOfKind(changes, 'cursor');
    if (has('dead-letter')) this.#world.count('deadLetter');
    if (has('redrive')) this.#world.count('redrive');
    if (seek?.isDue && cursors.some(({ subscriptionId }) => subscriptionId === seek.subscriptionId)) {
      const subscription = reference.subscriptions.get(seek.subscriptionId)!;
      seek.apply(subscription, reference.topics.get(subscription.topicId)!);
      this.#world.seek = undefined;
      this.#world.count('seek');
    }
    reference.submitted(transaction, firstOffsets);
    // The broker settles dead letters after it has submitted them, in the same turn of the event loop.
    if (has('dead-letter')) queueMicrotask(() => this.#world.guard(() => this.#checkCursors(cursors)));
    else this.#checkCursors(cursors);
  }

  #checkCursors(cursors: readonly CursorUpdate[]): void {
    const { reference } = this.#world;
    for (const { subscriptionId, partition, state } of cursors) {
      // Deleted meanwhile.
      if (!reference.subscriptions.has(subscriptionId)) continue;
      reference.checkCursors(subscriptionId, partition, state());
    }
  }
}

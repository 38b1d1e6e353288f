import { limits } from '../../base/limits.js';
import type { ProducerState, Storage } from '../../storage/types.js';

/** One producer of one topic, in memory. Its state runs ahead of the disk by the commits under way. */
export interface ProducerEntry {
  state: ProducerState | undefined;
  /**
   * Commits under way. The entry must not be forgotten before they are done, because the disk has an older state.
   */
  pendingCount: number;
}

/**
 * The sequences of producers: a bounded cache in front of the store. The least recently used entries are forgotten
 * first.
 */
export class ProducerTable {
  readonly #storage: Storage;
  readonly #entries = new Map<string, ProducerEntry>();
  readonly #loading = new Map<string, Promise<ProducerEntry>>();

  constructor(storage: Storage) {
    this.#storage = storage;
  }

  /** The entry, if it is in memory. */
  get(topicId: number, producerId: string): ProducerEntry | undefined {
    const key = keyOf(topicId, producerId);
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    // A Map keeps the order of insertion: the first entry is the least recently used one.
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry;
  }

  /** The entry, read from the store if it is not in memory. An unknown producer has an entry without state. */
  load(topicId: number, producerId: string): Promise<ProducerEntry> {
    const key = keyOf(topicId, producerId);
    let loading = this.#loading.get(key);
    if (loading === undefined) {
      loading = this.#read(key, topicId, producerId).finally(() => this.#loading.delete(key));
      this.#loading.set(key, loading);
    }
    return loading;
  }

  /**
   * Like `load`, and calls `use` with the entry in the table. If the entry has been forgotten again, it is put back: only
   * microtasks have run since it was read, so no commit can have changed the producer on disk.
   */
  async loadFor<T>(
    topicId: number,
    producerId: string,
    use: (entry: ProducerEntry) => T | Promise<T>,
  ): Promise<T> {
    const loaded = await this.load(topicId, producerId);
    let entry = this.get(topicId, producerId);
    if (entry === undefined) {
      entry = loaded;
      this.#entries.set(keyOf(topicId, producerId), entry);
    }
    return use(entry);
  }

  async #read(key: string, topicId: number, producerId: string): Promise<ProducerEntry> {
    const known = this.get(topicId, producerId);
    if (known !== undefined) return known;
    const entry = { state: await this.#storage.readProducer(topicId, producerId), pendingCount: 0 };
    this.#forget();
    this.#entries.set(key, entry);
    return entry;
  }

  /** Makes room for one more entry. There is none while all of them have commits under way: then the table grows. */
  #forget(): void {
    if (this.#entries.size < limits.cachedProducers) return;
    for (const [key, entry] of this.#entries) {
      if (entry.pendingCount > 0) continue;
      this.#entries.delete(key);
      if (this.#entries.size < limits.cachedProducers) return;
    }
  }
}

function keyOf(topicId: number, producerId: string): string {
  return `${topicId}/${producerId}`;
}

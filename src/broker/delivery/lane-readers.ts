import type { LogReader, Storage } from '../../storage/types.js';

/**
 * The log readers of one subscription, one for each partition. A reader is opened by the first read and closed
 * when the last session ends.
 */
export class LaneReaders {
  readonly #storage: Storage;
  readonly #topicId: number;
  readonly #readers = new Map<number, LogReader>();
  readonly #busy = new Set<number>();

  constructor(storage: Storage, topicId: number) {
    this.#storage = storage;
    this.#topicId = topicId;
  }

  read(partition: number, offset: number, maxBytes: number): ReturnType<LogReader['read']> {
    // A reader does one read at a time. A reader that is still busy with an overtaken read is closed.
    if (this.#busy.has(partition)) this.#close(partition);
    let reader = this.#readers.get(partition);
    if (reader === undefined) {
      reader = this.#storage.openReader(this.#topicId, partition);
      this.#readers.set(partition, reader);
    }
    const runs = reader.read(offset, maxBytes);
    if (!(runs instanceof Promise)) return runs;
    this.#busy.add(partition);
    const opened = reader;
    return runs.finally(() => {
      if (this.#readers.get(partition) === opened) this.#busy.delete(partition);
    });
  }

  closeAll(): void {
    for (const partition of [...this.#readers.keys()]) this.#close(partition);
  }

  #close(partition: number): void {
    this.#busy.delete(partition);
    this.#readers.get(partition)?.close();
    this.#readers.delete(partition);
  }
}

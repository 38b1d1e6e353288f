import { limits } from '../../base/limits.js';
import { entryEnd } from '../../envelope/entries.js';
import type { RecordDraft } from '../codec/record.js';
import type { Append } from '../types.js';

interface OpenRun {
  readonly producerId: string;
  readonly targetSubscriptionId: number;
  count: number;
  byteLength: number;
}

/** Lays out the appends of one round to one partition as records of about `limits.recordBytes`. */
export class RecordPlanner {
  readonly #partition: number;
  readonly #publishTimeMs: number;
  readonly #drafts: RecordDraft[] = [];
  #runs: OpenRun[] = [];
  #chunks: Uint8Array[] = [];
  #firstOffset: number;
  #position: number;
  #count = 0;
  #byteLength = 0;

  constructor(partition: number, publishTimeMs: number, firstOffset: number, position: number) {
    this.#partition = partition;
    this.#publishTimeMs = publishTimeMs;
    this.#firstOffset = firstOffset;
    this.#position = position;
  }

  /** Appends must come in the order of their offsets. */
  add(append: Append): void {
    if (append.byteLength > limits.recordBytes) {
      this.#addByMessage(append);
      return;
    }
    this.#makeRoom(append.byteLength);
    for (const chunk of append.chunks) this.#chunks.push(chunk);
    this.#grow(append, append.count, append.byteLength);
  }

  /** Ends the last record. */
  finish(): readonly RecordDraft[] {
    this.#close();
    return this.#drafts;
  }

  /** The position of the partition behind the last record. */
  get position(): number {
    return this.#position;
  }

  /** The append is too large for one record: splits it between messages into as many records as needed. */
  #addByMessage(append: Append): void {
    for (const chunk of append.chunks) {
      let from = 0;
      let count = 0;
      const flush = (to: number): void => {
        if (count === 0) return;
        this.#chunks.push(chunk.subarray(from, to));
        this.#grow(append, count, to - from);
        from = to;
        count = 0;
      };
      for (let at = 0; at < chunk.length; ) {
        const end = entryEnd(chunk, at);
        if (this.#byteLength + (end - from) > limits.recordBytes) {
          flush(at);
          this.#makeRoom(end - at);
        }
        count++;
        at = end;
      }
      flush(chunk.length);
    }
  }

  #makeRoom(byteLength: number): void {
    if (this.#byteLength + byteLength > limits.recordBytes) this.#close();
  }

  /** The run that the append extends: messages of one run have the same header. */
  #run({ producerId, targetSubscriptionId = 0 }: Append): OpenRun {
    const last = this.#runs.at(-1);
    if (last?.producerId === producerId && last.targetSubscriptionId === targetSubscriptionId) return last;
    const run = { producerId, targetSubscriptionId, count: 0, byteLength: 0 };
    this.#runs.push(run);
    return run;
  }

  #grow(append: Append, count: number, byteLength: number): void {
    const run = this.#run(append);
    run.count += count;
    run.byteLength += byteLength;
    this.#count += count;
    this.#byteLength += byteLength;
  }

  #close(): void {
    if (this.#count === 0) return;
    const outline = {
      partition: this.#partition,
      firstOffset: this.#firstOffset,
      count: this.#count,
      publishTimeMs: this.#publishTimeMs,
      position: this.#position,
      runs: this.#runs,
    };
    this.#drafts.push({ outline, chunks: this.#chunks });
    this.#firstOffset += this.#count;
    this.#position += this.#byteLength;
    this.#runs = [];
    this.#chunks = [];
    this.#count = 0;
    this.#byteLength = 0;
  }
}

import { SluiceError } from '../../base/errors.js';
import { invariant } from '../../base/invariant.js';
import type { LogReader, Storage, StoredRun } from '../../storage/types.js';
import { fittingEnd } from '../frames/fitting-end.js';
import type { FramesUnderWay } from '../frames/frame-pool.js';
import type { Topic, TopicFollower } from '../topics/topic.js';
import type { DeliveredRun, ReadSession, ReadSink } from '../types.js';

/** A partition that the stream reads. */
interface PartitionSource {
  readonly partition: number;
  readonly reader: LogReader;
  next: number;
  /** One past the last committed message. */
  end: number;
  isReading: boolean;
}

export interface LogStreamOptions {
  /** Undefined: every partition, including those that are added later. */
  readonly partition: number | undefined;
  /** First offset by partition. */
  readonly starts: ReadonlyMap<number, number>;
  /** 0: no limit. */
  readonly limit: number;
  readonly isFollowing: boolean;
  readonly frames: FramesUnderWay;
}

/**
 * A `Read` call under way. Its partitions take turns, and at most two frames wait for the transport. Messages that
 * were redriven to one subscription are skipped.
 */
export class LogStream implements ReadSession, TopicFollower {
  readonly #storage: Storage;
  readonly #topic: Topic;
  readonly #sink: ReadSink;
  readonly #sources: PartitionSource[] = [];
  readonly #readsAllPartitions: boolean;
  readonly #isFollowing: boolean;
  #leftCount: number;
  readonly #frames: FramesUnderWay;
  #readsUnderWay = 0;
  #turn = 0;
  #hasEnded = false;

  constructor(storage: Storage, topic: Topic, sink: ReadSink, options: LogStreamOptions) {
    this.#storage = storage;
    this.#topic = topic;
    this.#sink = sink;
    this.#readsAllPartitions = options.partition === undefined;
    this.#isFollowing = options.isFollowing;
    this.#frames = options.frames;
    this.#leftCount = options.limit === 0 ? Number.POSITIVE_INFINITY : options.limit;
    for (const [partition, next] of options.starts) this.#addSource(partition, next);
    if (this.#readsAllPartitions) {
      // Partitions may have been added while the offsets were looked up.
      for (let partition = 0; partition < topic.config.partitionCount; partition++) {
        if (!options.starts.has(partition)) this.#addSource(partition, topic.firstOffset(partition));
      }
    }
    topic.addFollower(this);
  }

  start(): void {
    this.#pump();
  }

  close(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#frames.close();
    this.#topic.removeFollower(this);
    for (const source of this.#sources) source.reader.close();
  }

  grown(partition: number, endOffset: number): void {
    // A reader that does not follow ends at the offsets that were committed when it began.
    if (!this.#isFollowing) return;
    let source = this.#sources.find((each) => each.partition === partition);
    if (source === undefined) {
      if (!this.#readsAllPartitions) return;
      source = this.#addSource(partition, this.#topic.firstOffset(partition));
    }
    source.end = endOffset;
    this.#pump();
  }

  #addSource(partition: number, next: number): PartitionSource {
    const { topicId } = this.#topic;
    const { endOffset } = this.#storage.extent(topicId, partition);
    const reader = this.#storage.openReader(topicId, partition);
    const source = { partition, reader, next, end: endOffset, isReading: false };
    this.#sources.push(source);
    return source;
  }

  topicEnded(error: SluiceError): void {
    this.#end(error);
  }

  #end(error: SluiceError | undefined): void {
    if (this.#hasEnded) return;
    this.close();
    this.#sink.ended(error);
  }

  #pump(): void {
    while (!this.#hasEnded && this.#frames.count + this.#readsUnderWay < this.#frames.mostCount) {
      const source = this.#leftCount > 0 ? this.#nextSource() : undefined;
      if (source === undefined) {
        this.#endIfDone();
        return;
      }
      void this.#read(source);
    }
  }

  #nextSource(): PartitionSource | undefined {
    for (let i = 0; i < this.#sources.length; i++) {
      const source = this.#sources[(this.#turn + i) % this.#sources.length]!;
      if (source.isReading || source.next >= source.end) continue;
      this.#turn = (this.#turn + i + 1) % this.#sources.length;
      return source;
    }
    return undefined;
  }

  #endIfDone(): void {
    if (this.#readsUnderWay > 0) return;
    if (this.#leftCount === 0 || !this.#isFollowing) this.#end(undefined);
  }

  async #read(source: PartitionSource): Promise<void> {
    source.isReading = true;
    this.#readsUnderWay++;
    let isFromDisk: boolean;
    let runs: readonly StoredRun[];
    // Only the read may fail. An error after it is a defect of the broker.
    try {
      const answer = source.reader.read(source.next, this.#frames.nextFrameBytes);
      isFromDisk = answer instanceof Promise;
      runs = answer instanceof Promise ? await answer : answer;
    } catch (error) {
      source.isReading = false;
      this.#readsUnderWay--;
      this.#end(SluiceError.from(error));
      return;
    }
    source.isReading = false;
    this.#readsUnderWay--;
    if (this.#hasEnded) return;
    this.#deliver(source, runs);
    if (isFromDisk) this.#pump();
  }

  #deliver(source: PartitionSource, runs: readonly StoredRun[]): void {
    // Another partition may have used up the limit during this read.
    if (this.#leftCount === 0) return;
    const start = source.next;
    const fitting = fittingEnd(runs, start, this.#frames.nextFrameBytes);
    let byteLength = 0;
    const delivered: DeliveredRun[] = [];
    for (const run of runs) {
      const from = Math.max(0, source.next - run.firstOffset);
      const isForAll = run.targetSubscriptionId === 0;
      const most = isForAll ? this.#leftCount : Number.POSITIVE_INFINITY;
      const end = Math.min(source.end, fitting) - run.firstOffset;
      const to = Math.min(run.count, end, from + most);
      if (from >= to) continue;
      source.next = run.firstOffset + to;
      if (!isForAll) continue;
      delivered.push({ run, from, to, attempt: 0, deliveryId: 0 });
      this.#leftCount -= to - from;
      byteLength += run.ends[to - 1]! - (from === 0 ? 0 : run.ends[from - 1]!);
    }
    invariant(source.next > start, 'a read below the end of the log came back empty');
    if (delivered.length === 0) return;
    this.#frames.sent(byteLength);
    this.#sink.deliver(delivered, () => {
      this.#frames.left();
      this.#pump();
    });
  }
}

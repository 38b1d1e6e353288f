import { partitionOfKey } from '../../core/routing.js';
import type { Append } from '../../storage/types.js';
import { checkPartition, type Topic } from '../topics/topic.js';
import type { PublishBatch } from '../types.js';

/** The part of a batch that goes to one partition. The last chunk is open and may grow. */
interface Part {
  readonly chunks: Uint8Array[];
  count: number;
  byteLength: number;
  chunkFrom: number;
  chunkTo: number;
}

/**
 * Assigns the messages of a batch to partitions, in order, without copying them: neighbouring messages of one
 * partition stay one chunk. Skips the first `skip` messages.
 */
export function routeBatch(topic: Topic, batch: PublishBatch, skip: number, producerId: string): Append[] {
  const { topicId } = topic;
  const { partitionCount } = topic.config;
  const { source, bounds } = batch;
  if (batch.partition !== undefined) checkPartition(topic.config, batch.partition);
  if (skip * 4 === bounds.length) return [];
  // Messages without a key go to the same partition, so that batches stay whole.
  const only = batch.partition ?? (partitionCount === 1 ? 0 : undefined);
  const keyless = only ?? topic.spreader.next(partitionCount);
  const parts: (Part | undefined)[] = new Array(partitionCount);
  for (let i = skip * 4; i < bounds.length; i += 4) {
    const from = bounds[i]!;
    const to = bounds[i + 1]!;
    const keyFrom = bounds[i + 2]!;
    const keyTo = bounds[i + 3]!;
    const partition =
      only ?? (keyFrom === keyTo ? keyless : partitionOfKey(source, keyFrom, keyTo, partitionCount));
    const part = parts[partition];
    if (part === undefined) {
      parts[partition] = { chunks: [], count: 1, byteLength: to - from, chunkFrom: from, chunkTo: to };
      continue;
    }
    part.count++;
    part.byteLength += to - from;
    if (part.chunkTo !== from) {
      part.chunks.push(source.subarray(part.chunkFrom, part.chunkTo));
      part.chunkFrom = from;
    }
    part.chunkTo = to;
  }
  return toAppends(topicId, producerId, source, parts);
}

function toAppends(
  topicId: number,
  producerId: string,
  source: Uint8Array,
  parts: readonly (Part | undefined)[],
): Append[] {
  const appends: Append[] = [];
  for (let partition = 0; partition < parts.length; partition++) {
    const part = parts[partition];
    if (part === undefined) continue;
    const { chunks, count, byteLength } = part;
    chunks.push(source.subarray(part.chunkFrom, part.chunkTo));
    appends.push({ kind: 'append', topicId, partition, producerId, chunks, count, byteLength });
  }
  return appends;
}

import { SluiceError } from '../../base/errors.js';
import { endOnDefect, unreachable } from '../../base/invariant.js';
import type { StartPosition } from '../../base/model.js';
import type { PartitionExtent, Storage } from '../../storage/types.js';
import { expectWhole, invalid } from '../checks.js';
import { type Topic, topicNotFound } from './topic.js';

/** The offset at which reading a partition from this position begins. */
async function startOffset(
  storage: Storage,
  topic: Topic,
  partition: number,
  start: StartPosition,
): Promise<number> {
  const { endOffset } = topic.extent(partition);
  const firstOffset = topic.firstOffset(partition);
  switch (start.kind) {
    case 'earliest':
      return firstOffset;
    case 'latest':
      return endOffset;
    case 'offset':
      if (start.offset >= firstOffset && start.offset <= endOffset) return start.offset;
      throw offsetOutOfRange(topic.name, partition, { firstOffset, endOffset }, start.offset);
    case 'time':
      return storage.offsetAt(topic.topicId, partition, start.timeMs);
    default:
      return unreachable(start);
  }
}

/** Throws if a topic that does not exist yet could not be read from this position. */
export function checkEmptyStart(topicName: string, start: StartPosition): void {
  if (start.kind !== 'offset' || start.offset === 0) return;
  throw offsetOutOfRange(topicName, 0, { firstOffset: 0, endOffset: 0 }, start.offset);
}

function offsetOutOfRange(
  topicName: string,
  partition: number,
  { firstOffset, endOffset }: Pick<PartitionExtent, 'firstOffset' | 'endOffset'>,
  offset: number,
): SluiceError {
  return new SluiceError(
    'OFFSET_OUT_OF_RANGE',
    `partition ${partition} of topic "${topicName}" can be read from ${firstOffset} to ${endOffset}, not from ${offset}`,
    { metadata: { firstOffset: String(firstOffset), endOffset: String(endOffset) } },
  );
}

/** Throws INVALID_FIELD for an offset that is no whole number, and for a time that is no number. */
export function checkPosition(start: StartPosition): void {
  if (start.kind === 'offset') expectWhole(start.offset, 'position', 'the offset of a position');
  if (start.kind === 'time' && !Number.isFinite(start.timeMs)) {
    throw invalid('position', `${start.timeMs} is no time`);
  }
}

/**
 * The start offsets of one partition, or of all. Throws INVALID_FIELD, OFFSET_OUT_OF_RANGE, DATA_LOSS, or TOPIC_NOT_FOUND
 * if the topic is deleted meanwhile.
 */
export async function startOffsets(
  storage: Storage,
  topic: Topic,
  partition: number | undefined,
  start: StartPosition,
): Promise<Map<number, number>> {
  checkPosition(start);
  const partitions = partition === undefined ? [...Array(topic.config.partitionCount).keys()] : [partition];
  const offsets = new Map<number, number>();
  try {
    for (const each of partitions) offsets.set(each, await startOffset(storage, topic, each, start));
  } catch (error) {
    endOnDefect(error);
    // The messages of a deleted topic are missing.
    throw topic.isDeleted ? topicNotFound(topic.name) : error;
  }
  if (topic.isDeleted) throw topicNotFound(topic.name);
  return offsets;
}

import { SluiceError } from '../../base/errors.js';
import { damageMessage } from '../engine/engine.js';
import type { PartitionLog } from './partition-log.js';

/** Stored messages that can no longer be read. Both offsets included. */
export function dataLoss(
  log: PartitionLog,
  firstOffset: number,
  lastOffset: number,
  why: string,
): SluiceError {
  return new SluiceError(
    'DATA_LOSS',
    `topic ${log.topicId}, partition ${log.partition}, offsets ${firstOffset} to ${lastOffset}: ${why}`,
    {
      metadata: {
        topicId: String(log.topicId),
        partition: String(log.partition),
        firstOffset: String(firstOffset),
        lastOffset: String(lastOffset),
      },
    },
  );
}

/** The disk failed to read, twice. Not remembered: a later read may succeed. */
export function readFailed(log: PartitionLog, offset: number, error: unknown): SluiceError {
  return new SluiceError(
    'READ_FAILED',
    `topic ${log.topicId}, partition ${log.partition}, offset ${offset}: the disk failed to read it, twice: ${damageMessage(error)}`,
    {
      metadata: {
        topicId: String(log.topicId),
        partition: String(log.partition),
        firstOffset: String(offset),
      },
      cause: error,
    },
  );
}

/** Throws if a read at this offset can never be answered, or not now. */
export function checkReadable(log: PartitionLog, offset: number): void {
  if (log.isDeleted) {
    throw new SluiceError('TOPIC_DELETED', `topic ${log.topicId} was deleted`);
  }
  if (offset < log.firstOffset) {
    throw new SluiceError(
      'OFFSET_OUT_OF_RANGE',
      `offset ${offset} of partition ${log.partition} was removed: the first that is kept is ${log.firstOffset}`,
      { metadata: { firstOffset: String(log.firstOffset) } },
    );
  }
}

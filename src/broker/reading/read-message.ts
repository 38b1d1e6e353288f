import { SluiceError } from '../../base/errors.js';
import { messageEntry } from '../../envelope/message-bytes.js';
import type { LogReader, Storage, StoredRun } from '../../storage/types.js';
import { checkPartition, type Topic } from '../topics/topic.js';
import type { DeliveredRun } from '../types.js';

/** One message of the log. Throws MESSAGE_NOT_FOUND, UNKNOWN_PARTITION or DATA_LOSS. */
export async function readMessage(
  storage: Storage,
  topic: Topic,
  partition: number,
  offset: number,
): Promise<DeliveredRun> {
  checkPartition(topic.config, partition);
  const reader = storage.openReader(topic.topicId, partition);
  try {
    return await readMessageBy(reader, storage, topic, partition, offset);
  } finally {
    reader.close();
  }
}

/** Like `readMessage`, with a reader of the partition that may already have found the record. */
export async function readMessageBy(
  reader: LogReader,
  storage: Storage,
  topic: Topic,
  partition: number,
  offset: number,
): Promise<DeliveredRun> {
  const { firstOffset, endOffset } = storage.extent(topic.topicId, partition);
  if (offset < firstOffset || offset >= endOffset) {
    const kept = firstOffset === endOffset ? 'it is empty' : `it has ${firstOffset} to ${endOffset - 1}`;
    throw new SluiceError(
      'MESSAGE_NOT_FOUND',
      `topic "${topic.name}" has no message ${offset} in partition ${partition}: ${kept}`,
      { metadata: { firstOffset: String(firstOffset), endOffset: String(endOffset) } },
    );
  }
  for (const run of await reader.read(offset, 1)) {
    if (offset < run.firstOffset || offset >= run.firstOffset + run.count) continue;
    return { run: messageAlone(run, offset - run.firstOffset), from: 0, to: 1, attempt: 0, deliveryId: 0 };
  }
  throw new SluiceError(
    'DATA_LOSS',
    `message ${offset} of partition ${partition} of "${topic.name}" is missing`,
  );
}

/** A copy, because the memory of the run is valid only for a moment. */
function messageAlone(run: StoredRun, index: number): StoredRun {
  const { partition, firstOffset, publishTimeMs, producerId, targetSubscriptionId } = run;
  const messages = Buffer.from(messageEntry(run, index));
  const ends = Uint32Array.of(messages.length);
  const kept = { partition, publishTimeMs, producerId, targetSubscriptionId };
  return { ...kept, firstOffset: firstOffset + index, count: 1, messages, ends };
}

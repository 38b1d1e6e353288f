import { SluiceError } from '../../base/errors.js';
import type { TopicConfig } from '../../base/model.js';
import { expectMs, expectWhole } from '../checks.js';

/** Throws INVALID_FIELD. A topic of an earlier version may have a name that is too long: only a new one is checked. */
export function checkTopic(config: Omit<TopicConfig, 'createTimeMs'>, maxPartitionCount: number): void {
  const { partitionCount, retention, backlogLimit } = config;
  if (!(Number.isInteger(partitionCount) && partitionCount >= 1 && partitionCount <= maxPartitionCount)) {
    throw new SluiceError(
      'INVALID_FIELD',
      `a topic of this broker has from 1 to ${maxPartitionCount} partitions, not ${partitionCount}`,
      { subject: 'partitionCount', metadata: { maxPartitionCount: String(maxPartitionCount) } },
    );
  }
  expectMs(retention.maxAgeMs, 'retentionAge', 'the age limit of the retention');
  expectWhole(retention.maxBytes, 'retentionBytes', 'the byte limit of the retention');
  expectWhole(backlogLimit.maxBytes, 'backlogBytes', 'the byte limit of the backlog');
  expectWhole(backlogLimit.maxMessages, 'backlogMessages', 'the message limit of the backlog');
}

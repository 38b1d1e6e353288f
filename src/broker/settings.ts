import type { Durability } from '../base/model.js';

/** What of the broker's settings its rules need. Read once, never changed. */
export interface BrokerSettings {
  readonly version: string;
  /** Create a topic when it is first named by a producer or consumer. */
  readonly canAutoCreateTopics: boolean;
  readonly defaultDurability: Durability;
  readonly defaultAckDeadlineMs: number;
  readonly maxPartitionCount: number;
  readonly maxMessageBytes: number;
  readonly maxRequestBytes: number;
  /** Free space on the data disk below which publishing is refused. */
  readonly minFreeDiskBytes: number;
}

import type { Durability } from '../base/model.js';

/** The settings that the broker needs. Read once, never changed. */
export interface BrokerSettings {
  readonly version: string;
  /** Create a topic when it is first named by a producer or consumer. */
  readonly canAutoCreateTopics: boolean;
  readonly defaultDurability: Durability;
  readonly defaultAckDeadlineMs: number;
  readonly maxPartitionCount: number;
  readonly maxMessageBytes: number;
  readonly maxRequestBytes: number;
  /** Memory for frames that have not left for the transport, over all streams. */
  readonly frameBytes: number;
  /** Free space on the data disk below which producers are held. */
  readonly minFreeDiskBytes: number;
}

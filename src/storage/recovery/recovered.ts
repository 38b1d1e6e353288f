import type { Extent } from '../codec/extent.js';
import type { CatalogSubscription, CatalogTopic } from '../types.js';
import type { LostCursors } from './lost-cursors.js';
import type { LostExtents } from './lost-extents.js';

/** The records of the metadata that can be read. */
export interface RecoveredRecords {
  readonly topics: ReadonlyMap<number, CatalogTopic>;
  readonly subscriptions: readonly CatalogSubscription[];
  readonly nextTopicId: number;
  readonly nextSubscriptionId: number;
  readonly extents: ReadonlyMap<number, ReadonlyMap<number, Extent>>;
  readonly lastPublishTimeMs: number;
  readonly deletedTopicIds: ReadonlySet<number>;
  readonly deletedSubscriptionIds: ReadonlySet<number>;
}

/** All metadata. They are read at once: opening the store never reads messages. */
export interface Recovered extends RecoveredRecords {
  /** Damaged or missing records, one line for each. The other fields do not contain them. */
  readonly faults: readonly string[];
  readonly lost: LostMetadata;
}

/** The losses in the metadata that the opening found. */
export interface LostMetadata extends Omit<Contradictions, 'faults'> {
  /** The keys of records that do not match their checksum. */
  readonly damagedKeys: readonly Buffer[];
  /** Extents that were lost, rebuilt from the records of their partitions. */
  readonly extents: LostExtents['found'];
  /** What takes the place of cursors that can't be read. */
  readonly cursors: LostCursors['replacements'];
  /**
   * False: topics may exist that are not known, or partitions with messages whose extent is lost. Their ids or offsets
   * would be given again, over their messages.
   */
  readonly canBeAccepted: boolean;
}

/** What a check of the records against each other found. */
export interface Contradictions {
  /** Lines for people. */
  readonly faults: readonly string[];
  /** Lost topics and subscriptions: records that belong to them exist. */
  readonly topicIds: ReadonlySet<number>;
  readonly subscriptionIds: ReadonlySet<number>;
  /** Extents of partitions that their topic does not have. */
  readonly surplusExtents: readonly { readonly topicId: number; readonly partition: number }[];
  /** False: RocksDB could not read all records, so records that seem to be missing may exist. */
  readonly isReadable: boolean;
}

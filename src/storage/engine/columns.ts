/**
 * The column families of the store, by number. Their names are part of the database format and never change. The
 * first one is RocksDB's own `default`.
 */
export const metadataColumn = 0;
export const cursorsColumn = 1;
export const producersColumn = 2;
const firstPartitionColumn = 3;

/** Partition p of every topic is stored in the same column family. */
export function partitionColumn(partition: number): number {
  return firstPartitionColumn + partition;
}

/** Names in the order of their numbers. */
export function columnNames(maxPartitionCount: number): readonly string[] {
  const partitions = Array.from(
    { length: maxPartitionCount },
    (_, partition) => `partition-${String(partition).padStart(3, '0')}`,
  );
  return ['default', 'cursors', 'producers', ...partitions];
}

package dev.sluice.client;

import dev.sluice.v1.Durability;

/**
 * What became of a message: it is durable, and this is where.
 *
 * @param partition -1 for a duplicate: a retry found it stored, and the broker does not say where
 * @param offset its place in the partition; -1 for a duplicate
 * @param durability what it survives; unspecified for a duplicate
 * @param isDuplicate a try before, whose answer was lost, had stored it
 */
public record Receipt(int partition, long offset, Durability durability, boolean isDuplicate) {
  static final Receipt DUPLICATE = new Receipt(-1, -1, Durability.DURABILITY_UNSPECIFIED, true);
}

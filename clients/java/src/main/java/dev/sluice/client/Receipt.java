package dev.sluice.client;

import dev.sluice.v1.Durability;

/**
 * Says that a message is durable, and where it is.
 *
 * @param partition -1 for a duplicate: a retry found it stored, and the broker does not say where
 * @param offset its place in the partition; -1 for a duplicate
 * @param durability the durability; unspecified for a duplicate
 * @param isDuplicate whether an earlier try, whose answer was lost, has stored the message
 */
public record Receipt(int partition, long offset, Durability durability, boolean isDuplicate) {
  static final Receipt DUPLICATE = new Receipt(-1, -1, Durability.DURABILITY_UNSPECIFIED, true);
}

package dev.sluice.client;

import dev.sluice.v1.Durability;

/**
 * The place of a message that is durable.
 *
 * @param partition the partition; -1 for a duplicate, whose place the broker does not say
 * @param offset the offset in the partition; -1 for a duplicate
 * @param durability the durability; unspecified for a duplicate
 * @param isDuplicate whether an earlier attempt, whose answer was lost, stored the message
 */
public record Receipt(int partition, long offset, Durability durability, boolean isDuplicate) {
  static final Receipt DUPLICATE = new Receipt(-1, -1, Durability.DURABILITY_UNSPECIFIED, true);
}

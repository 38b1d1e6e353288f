package dev.sluice.client;

/**
 * An error in one field of a request.
 *
 * @param field the path of the field, for example {@code settlements[2].offsets}
 * @param description what is wrong with the field
 */
public record FieldViolation(String field, String description) {}

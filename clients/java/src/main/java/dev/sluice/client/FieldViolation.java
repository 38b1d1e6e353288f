package dev.sluice.client;

/**
 * What was wrong with one field of a request.
 *
 * @param field a path: {@code settlements[2].offsets}
 * @param description what is wrong with it
 */
public record FieldViolation(String field, String description) {}

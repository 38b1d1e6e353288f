/**
 * Producers and consumers for Sluice, a durable gRPC streaming message broker. Nothing is null
 * unless it is marked {@code @Nullable}.
 */
@NullMarked
package dev.sluice.client;

import org.jspecify.annotations.NullMarked;

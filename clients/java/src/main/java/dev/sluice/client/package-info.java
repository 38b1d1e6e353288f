/** Producers and consumers for Sluice, a durable gRPC streaming message broker. */
package dev.sluice.client;

package dev.sluice.client;

import org.jspecify.annotations.Nullable;

/** One recovery of a producer whose stream is gone. Compared by identity. */
final class Recovery {
  /** Why there is no stream. */
  final SluiceException error;

  /** The batch that the broker refused finally; null for none. */
  final @Nullable Batch refused;

  /** Why the broker refused that batch. */
  final SluiceException refusal;

  Recovery(SluiceException error, @Nullable Batch refused) {
    this(error, refused, error);
  }

  private Recovery(SluiceException error, @Nullable Batch refused, SluiceException refusal) {
    this.error = error;
    this.refused = refused;
    this.refusal = refusal;
  }

  /** The next attempt, after this one has failed. */
  Recovery again(SluiceException failed) {
    return new Recovery(failed, refused, refusal);
  }

  /** The position of the producer at the broker. Renews the epoch if `renewalId` is not 0. */
  ProducerPosition ask(Client client, ProducerBuilder settings, long renewalId, long epoch) {
    return renewalId != 0
        ? ProducerPosition.renew(client, settings, renewalId, epoch)
        : ProducerPosition.of(client, settings, epoch);
  }
}

package dev.sluice.interop;

import dev.sluice.client.Client;
import dev.sluice.client.Producer;
import dev.sluice.client.SluiceException;
import io.grpc.Status;

/** Opens producers, also while the broker is down for a moment. */
final class Opening {
  private static final long PAUSE_MS = 100;

  private Opening() {}

  static Producer producer(Client client, String topic) throws InterruptedException {
    for (; ; ) {
      try {
        return client.producer(topic).open();
      } catch (SluiceException failed) {
        if (failed.code() != Status.Code.UNAVAILABLE) throw failed;
        Thread.sleep(PAUSE_MS);
      }
    }
  }
}

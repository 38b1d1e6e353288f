package dev.sluice.interop;

import dev.sluice.client.Client;
import dev.sluice.client.Message;
import dev.sluice.client.Producer;
import dev.sluice.client.Receipt;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;

/** Sends the messages of a case in order, and waits for all receipts. */
final class Produce implements Main.Command {
  @Override
  public Main.Outcome run(Options options) throws Exception {
    List<Message> messages = Cases.messagesOf(options.cases(), options.text("case"));
    List<long[]> places = new ArrayList<>(messages.size());
    try (Client client = Client.connect(options.text("server"));
        Producer producer = Opening.producer(client, options.text("topic"))) {
      List<CompletableFuture<Receipt>> receipts = new ArrayList<>(messages.size());
      for (Message message : messages) receipts.add(producer.send(message));
      for (CompletableFuture<Receipt> receipt : receipts) places.add(placeOf(receipt.get()));
    }
    Map<String, Object> line = new LinkedHashMap<>();
    line.put("sent", messages.size());
    line.put("receipts", places);
    return new Main.Outcome(line, true);
  }

  private static long[] placeOf(Receipt receipt) {
    return receipt.isDuplicate() ? null : new long[] {receipt.partition(), receipt.offset()};
  }
}

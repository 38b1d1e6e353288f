package dev.sluice.interop;

import dev.sluice.client.Client;
import dev.sluice.client.Consumer;
import dev.sluice.client.Delivery;
import dev.sluice.client.Message;
import dev.sluice.v1.GetSubscriptionRequest;
import io.grpc.StatusRuntimeException;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;

/** Handles the messages of a case until all of them are durably acknowledged, and checks them. */
final class Consume implements Main.Command {
  private static final long BACKLOG_CHECK_EVERY_MS = 50;

  @Override
  public Main.Outcome run(Options options) throws Exception {
    Audit audit = new Audit(Cases.messagesOf(options.cases(), options.text("case")));
    try (Client client = Client.connect(options.text("server"));
        Consumer consumer =
            client
                .consumer(options.text("topic"), options.text("subscription"))
                .concurrency(4)
                .build()) {
      CompletableFuture<Void> ended =
          consumer.start(
              delivery -> {
                int index = audit.handled(delivery);
                delivery
                    .ack()
                    .thenAccept(
                        isDurable -> {
                          if (isDurable && index >= 0) audit.durable(index);
                        });
              });
      CompletableFuture.anyOf(ended, audit.handledAll).get();
      while (!audit.isDurable() && hasBacklog(client, options))
        Thread.sleep(BACKLOG_CHECK_EVERY_MS);
    }
    Map<String, Object> line = new LinkedHashMap<>();
    line.put("received", audit.received.size());
    line.put("redelivered", audit.redelivered);
    line.put("problems", audit.problems);
    return new Main.Outcome(line, audit.problems.isEmpty());
  }

  /**
   * An acknowledgement whose answer was lost when the broker was killed may be durable: asks the
   * broker.
   */
  private static boolean hasBacklog(Client client, Options options) {
    try {
      GetSubscriptionRequest request =
          GetSubscriptionRequest.newBuilder()
              .setTopic(options.text("topic"))
              .setName(options.text("subscription"))
              .build();
      return client.admin().getSubscription(request).getSubscription().getPartitionsList().stream()
          .anyMatch(partition -> partition.getBacklogMessageCount() > 0);
    } catch (StatusRuntimeException down) {
      return true;
    }
  }

  /** The expected and the received messages. */
  private static final class Audit {
    private static final int MOST_PROBLEMS = 20;
    private final List<Message> messages;

    /**
     * The expected messages by their identity: the header of a sequence, or else all their content.
     */
    private final Map<Object, List<Integer>> indexes = new LinkedHashMap<>();

    /** The messages by place, to recognize a redelivery. */
    private final Map<List<Long>, Integer> received = new LinkedHashMap<>();

    private final Set<Integer> durable = new HashSet<>();

    /** For each key, the message that was last handled for the first time. */
    private final Map<Object, Integer> lastOfKey = new LinkedHashMap<>();

    private final List<String> problems = new ArrayList<>();
    private final CompletableFuture<Void> handledAll = new CompletableFuture<>();
    private int redelivered;

    Audit(List<Message> messages) {
      this.messages = messages;
      for (int i = 0; i < messages.size(); i++) {
        Message message = messages.get(i);
        Object content =
            List.of(
                message.key(),
                message.payload(),
                message.headers(),
                String.valueOf(message.eventTime()));
        indexes.computeIfAbsent(content, same -> new ArrayList<>(1)).add(i);
      }
    }

    /** The index of the message; -1 for an unexpected message. */
    synchronized int handled(Delivery delivery) {
      List<Long> place = List.of((long) delivery.partition(), delivery.offset());
      Integer before = received.get(place);
      if (before != null) {
        redelivered++;
        if (durable.contains(before))
          problem("message " + before + " came again after its acknowledgement was durable");
        return before;
      }
      Object content =
          List.of(
              delivery.key(),
              delivery.payload(),
              delivery.headers(),
              String.valueOf(delivery.eventTime()));
      List<Integer> left = indexes.get(content);
      if (left == null || left.isEmpty()) {
        problem(
            (left == null ? "unknown message at " : "a message twice at ")
                + place
                + ", key "
                + delivery.key());
        return -1;
      }
      int index = left.remove(0);
      received.put(place, index);
      if (received.size() == messages.size()) handledAll.complete(null);
      if (!delivery.key().isEmpty()) {
        Integer last = lastOfKey.put(delivery.key(), index);
        if (last != null && last > index)
          problem("message " + index + " came behind " + last + " of the same key");
      }
      return index;
    }

    synchronized void durable(int index) {
      durable.add(index);
    }

    synchronized boolean isDurable() {
      return durable.size() == messages.size();
    }

    private void problem(String text) {
      if (problems.size() < MOST_PROBLEMS) problems.add(text);
    }
  }
}

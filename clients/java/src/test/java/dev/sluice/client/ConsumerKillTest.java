package dev.sluice.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sluice.v1.Ordering;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** A consumer whose broker is killed again and again. */
@Timeout(90)
class ConsumerKillTest {
  private static final int COUNT = 40_000;
  private static final int KEY_COUNT = 13;

  @Test
  void everythingIsHandledInOrderAndNothingAgainThatWasDurable() throws Exception {
    try (BrokerProcess broker = BrokerProcess.start(); Client client = Client.connect(broker.address())) {
      String topic = Topics.create(client, 4);
      Topics.subscribe(client, topic, Ordering.ORDERING_KEY);
      Message[] messages = new Message[COUNT];
      for (int i = 0; i < COUNT; i++) messages[i] = Message.of("key-" + i % KEY_COUNT, Integer.toString(i));
      Topics.publish(client, topic, messages);

      List<String> problems = Collections.synchronizedList(new ArrayList<>());
      Set<Integer> durable = ConcurrentHashMap.newKeySet();
      BitSet handled = new BitSet();
      Map<Integer, Integer> lastOfKey = new HashMap<>();
      AtomicInteger handledCount = new AtomicInteger();
      try (Consumer consumer = client.consumer(topic, "s").concurrency(3).build()) {
        consumer.run(delivery -> {
          int number = Integer.parseInt(delivery.payload().toStringUtf8());
          if (durable.contains(number)) problems.add(number + " comes again although it was durable");
          synchronized (handled) {
            if (!handled.get(number)) {
              Integer before = lastOfKey.put(number % KEY_COUNT, number);
              if (before != null && before > number) problems.add(before + " before " + number);
              handled.set(number);
              handledCount.incrementAndGet();
            }
          }
          delivery.ack().thenAccept(isDurable -> {
            if (isDurable) durable.add(number);
          });
        });
        for (int kill = 1; kill <= 3; kill++) {
          int until = kill * COUNT / 5;
          Topics.await(until + " are handled", () -> handledCount.get() >= until);
          broker.restart();
        }
        Topics.await("everything is handled", () -> handledCount.get() == COUNT);
      }
      assertEquals(List.of(), problems);
      assertTrue(durable.size() > COUNT / 2, durable.size() + " are known to be durable");
      assertEquals(0, Topics.backlogOf(client, topic));
    }
  }
}

package dev.sluice.client;

import com.google.protobuf.Duration;
import dev.sluice.v1.Settlement;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/** Sets the outcome of a settlement. */
final class SettlementOf {
  /** The limit of the broker. */
  private static final int MAX_REASON_LENGTH = 1_000;

  private static final Settlement.Ack ACK = Settlement.Ack.getDefaultInstance();

  private SettlementOf() {}

  static Settlement.Builder ack(Settlement.Builder settlement) {
    return settlement.setAck(ACK);
  }

  static UnaryOperator<Settlement.Builder> nack(java.time.@Nullable Duration delay, String reason) {
    Settlement.Nack.Builder nack = Settlement.Nack.newBuilder().setReason(cut(reason));
    if (delay != null) nack.setDelay(toProto(delay));
    return settlement -> settlement.setNack(nack);
  }

  /** A nack with the text of an exception of a handler. */
  static UnaryOperator<Settlement.Builder> nack(Throwable thrown) {
    String text = thrown.getMessage();
    return nack(null, text == null ? thrown.toString() : text);
  }

  static UnaryOperator<Settlement.Builder> deadLetter(String reason) {
    return settlement ->
        settlement.setDeadLetter(Settlement.DeadLetter.newBuilder().setReason(cut(reason)));
  }

  static UnaryOperator<Settlement.Builder> extend(java.time.Duration by) {
    return settlement ->
        settlement.setExtend(Settlement.ExtendDeadline.newBuilder().setBy(toProto(by)));
  }

  /** Cuts between characters, never between the halves of a surrogate pair. */
  private static String cut(@Nullable String reason) {
    if (reason == null) return "";
    if (reason.length() <= MAX_REASON_LENGTH) return reason;
    int end =
        Character.isHighSurrogate(reason.charAt(MAX_REASON_LENGTH - 1))
            ? MAX_REASON_LENGTH - 1
            : MAX_REASON_LENGTH;
    return reason.substring(0, end);
  }

  private static Duration toProto(java.time.Duration duration) {
    return Duration.newBuilder()
        .setSeconds(duration.getSeconds())
        .setNanos(duration.getNano())
        .build();
  }
}

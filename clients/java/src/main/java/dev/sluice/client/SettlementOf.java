package dev.sluice.client;

import com.google.protobuf.Duration;
import dev.sluice.v1.Settlement;
import java.util.function.UnaryOperator;

/** Outcomes, as they are added to a settlement. */
final class SettlementOf {
  /** The broker refuses longer ones. */
  private static final int MAX_REASON_LENGTH = 1_000;

  private static final Settlement.Ack ACK = Settlement.Ack.getDefaultInstance();

  private SettlementOf() {}

  static Settlement.Builder ack(Settlement.Builder settlement) {
    return settlement.setAck(ACK);
  }

  static UnaryOperator<Settlement.Builder> nack(java.time.Duration delay, String reason) {
    Settlement.Nack.Builder nack = Settlement.Nack.newBuilder().setReason(cut(reason));
    if (delay != null) nack.setDelay(toProto(delay));
    return settlement -> settlement.setNack(nack);
  }

  /** For what a handler has thrown. */
  static UnaryOperator<Settlement.Builder> nack(Throwable thrown) {
    return nack(null, thrown.getMessage() == null ? thrown.toString() : thrown.getMessage());
  }

  static UnaryOperator<Settlement.Builder> deadLetter(String reason) {
    return settlement ->
        settlement.setDeadLetter(Settlement.DeadLetter.newBuilder().setReason(cut(reason)));
  }

  static UnaryOperator<Settlement.Builder> extend(java.time.Duration by) {
    return settlement ->
        settlement.setExtend(Settlement.ExtendDeadline.newBuilder().setBy(toProto(by)));
  }

  /** Not through the middle of a character. */
  private static String cut(String reason) {
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

package dev.sluice.client;

import dev.sluice.v1.ConsumeRequest;
import dev.sluice.v1.FlowControl;
import dev.sluice.v1.SubscribeRequest;
import io.grpc.ClientCall;
import io.grpc.Metadata;
import io.grpc.Status;
import java.util.ArrayList;
import java.util.List;

/**
 * One Consume call, and what belongs to it. Guarded by the lock of the consumer, which hears of it
 * in the connection's thread.
 */
final class Session extends ClientCall.Listener<ConsumeFrame> {
  /** How far it has come. It only ever moves down this list. */
  enum Phase {
    OPENING,
    /** The broker has opened it; how the subscription orders is being asked. */
    ASKING_ORDER,
    OPEN
  }

  private final Inbox inbox;
  private final ConsumerBuilder settings;
  private final ClientCall<ConsumeRequest, ConsumeFrame> call;
  final Settlements settlements;
  Phase phase = Phase.OPENING;
  long ackDeadlineMs;

  /** What came before it was known how to order it. */
  final List<ConsumeFrame> early = new ArrayList<>();

  boolean isAckTimerSet;
  private boolean hasLeft;
  private int granted;

  /** The broker has taken messages back since it was told the credit. */
  private boolean hasLostMessages;

  Session(Client client, Inbox inbox, ConsumerBuilder settings, int credit) {
    this.inbox = inbox;
    this.settings = settings;
    this.granted = credit;
    this.call = client.newStream(ConsumeFrame.METHOD);
    this.settlements = new Settlements(this::send);
  }

  Inbox inbox() {
    return inbox;
  }

  String topic() {
    return settings.topic;
  }

  void start() {
    call.start(this, new Metadata());
    // Credit bounds what comes.
    call.request(Integer.MAX_VALUE);
    SubscribeRequest.Builder subscribe =
        SubscribeRequest.newBuilder()
            .setTopic(settings.topic)
            .setSubscription(settings.subscription)
            .setConsumerId(settings.consumerId)
            .setFlowControl(flowControl());
    if (settings.start != null) subscribe.setStart(settings.start);
    call.sendMessage(ConsumeRequest.newBuilder().setSubscribe(subscribe).build());
  }

  /** Tells the broker, if that is news. */
  void grant(int credit) {
    if (credit != granted) tell(credit);
  }

  /**
   * Says that more can be taken: a session whose leases have lapsed gets nothing more before the
   * broker hears of it.
   */
  void grantAgain() {
    if (hasLostMessages) tell(granted);
  }

  void lostMessages() {
    hasLostMessages = true;
  }

  private void tell(int credit) {
    granted = credit;
    hasLostMessages = false;
    send(ConsumeRequest.newBuilder().setFlowControl(flowControl()).build());
  }

  private void send(ConsumeRequest request) {
    if (!hasLeft) call.sendMessage(request);
  }

  private FlowControl flowControl() {
    return FlowControl.newBuilder()
        .setMaxOutstandingMessages(granted)
        .setMaxOutstandingBytes(settings.maxOutstandingBytes)
        .build();
  }

  /** Leaves: what was settled is answered, the rest is free and has not failed. */
  void leave() {
    if (hasLeft) return;
    hasLeft = true;
    call.halfClose();
  }

  void cancel(String why) {
    call.cancel(why, null);
  }

  @Override
  public void onMessage(ConsumeFrame frame) {
    inbox.received(this, frame);
  }

  @Override
  public void onClose(Status status, Metadata trailers) {
    inbox.closed(this, SluiceException.from(status.asRuntimeException(trailers)));
  }
}

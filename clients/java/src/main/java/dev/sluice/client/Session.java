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
 * One Consume call, with its settlements. Guarded by the lock of the inbox. The inbox gets its
 * events in the thread of the connection.
 */
final class Session extends ClientCall.Listener<ConsumeFrame> {
  /** The phases of a session, in their order. A session never goes back. */
  enum Phase {
    /** The broker has not answered. */
    OPENING,
    /** The broker has opened the session. The client asks for the ordering of the subscription. */
    ASKING_ORDER,
    /** Messages can be handled. */
    OPEN
  }

  private final Inbox inbox;
  private final ConsumerBuilder settings;
  private final ClientCall<ConsumeRequest, ConsumeFrame> call;
  final Settlements settlements;
  Phase phase = Phase.OPENING;
  long ackDeadlineMs;

  /** The frames that came before the ordering was known. */
  final List<ConsumeFrame> early = new ArrayList<>();

  boolean isAckTimerSet;
  private boolean hasLeft;
  private int granted;

  /** The consumer closes, or the session has ended: the credit does not change any more. */
  private boolean isCreditFrozen;

  /** The broker has revoked messages since it was told the credit. */
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
    // The credit limits the messages, so gRPC needs no limit.
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

  /** Sets the credit, and tells the broker if it has changed. */
  void grant(int credit) {
    if (credit != granted && !isCreditFrozen) tell(credit);
  }

  /**
   * Tells the broker again that the consumer can take messages. A session whose leases have lapsed
   * receives nothing before that.
   */
  void grantAgain() {
    if (hasLostMessages && !isCreditFrozen) tell(granted);
  }

  void freezeCredit() {
    isCreditFrozen = true;
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

  /**
   * Leaves: closes its half of the stream. The broker answers what was settled, and frees the other
   * messages without counting an attempt.
   */
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

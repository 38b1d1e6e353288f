package sluice

import (
	"context"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/sluice-mq/sluice/clients/go/sluicev1"
)

// session is one Consume stream.
type session struct {
	consumer *Consumer
	call     grpc.ClientStream
	// wake signals to the writer that there may be a request to send.
	wake chan struct{}

	// The following fields are guarded by the mutex of the consumer.

	open        bool
	ackDeadline time.Duration
	outbox      outbox
	// unanswered settlements by their id.
	unanswered map[uint64]*settleGroup
	lastID     uint64
	// lastDeliveryID is the highest delivery_id that was read. Settlements do not apply to messages that the broker
	// delivered later.
	lastDeliveryID uint64
	// granted is the credit that was sent last.
	granted int
	// takenBack: the broker has taken messages back since. A session whose lease has lapsed gets nothing more before it
	// is
	// heard of, so the credit is sent once again when a handler or a caller of Receive waits for a message.
	takenBack          bool
	adjustAt, extendAt time.Time
}

// serve opens a stream and takes its responses until it has ended. The error is nil if it ended normally.
func (c *Consumer) serve(ctx context.Context) (isOpened bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	call, err := c.client.conn.NewStream(ctx, &sluicev1.Broker_ServiceDesc.Streams[consumeIndex],
		sluicev1.Broker_Consume_FullMethodName, passThrough)
	if err != nil {
		return false, err
	}
	s := &session{
		consumer: c, call: call,
		wake:       make(chan struct{}, 1),
		unanswered: map[uint64]*settleGroup{},
		adjustAt:   time.Now().Add(creditEvery),
	}
	c.mu.Lock()
	s.granted = c.credit.credit
	c.session = s
	c.mu.Unlock()
	defer c.sessionEnded(s)

	// The reader of the stream gets its error.
	if call.SendMsg(&sluicev1.ConsumeRequest{Subscribe: c.subscribe(s.granted)}) != nil {
		return false, s.read(ctx)
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		s.write(ctx)
	}()
	err = s.read(ctx)
	cancel()
	<-written
	return s.open, err
}

var consumeIndex = streamIndex("Consume")

func (c *Consumer) subscribe(credit int) *sluicev1.SubscribeRequest {
	return &sluicev1.SubscribeRequest{
		Topic:        c.config.Topic,
		Subscription: c.config.Subscription,
		ConsumerId:   c.config.ConsumerID,
		Start:        c.config.Start,
		FlowControl:  c.flowControl(credit),
	}
}

func (c *Consumer) flowControl(messages int) *sluicev1.FlowControl {
	maxMessages, maxBytes := uint32(messages), uint64(c.config.MaxOutstandingBytes)
	return &sluicev1.FlowControl{MaxOutstandingMessages: &maxMessages, MaxOutstandingBytes: &maxBytes}
}

// read reads responses until the stream has ended.
func (s *session) read(ctx context.Context) error {
	for {
		var raw rawFrame
		if err := s.call.RecvMsg(&raw); err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
		f, err := parseFrame(raw.bytes, s)
		if err != nil {
			return err
		}
		if f.opened != nil {
			if err := s.opened(ctx, f.opened); err != nil {
				return err
			}
		}
		s.received(&f)
	}
}

// opened asks for the ordering of the subscription, before the first message is queued.
func (s *session) opened(ctx context.Context, opened *sluicev1.SessionOpened) error {
	c := s.consumer
	ordering, err := s.askOrdering(ctx)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lanes.ordering = ordering
	s.open = true
	s.ackDeadline = opened.GetAckDeadline().AsDuration()
	s.extendAt = time.Now().Add(s.ackDeadline / 3)
	s.poke()
	return nil
}

// askOrdering asks again if the error may pass. The stream stays open, because the broker can count attempts for a
// stream that is reset.
func (s *session) askOrdering(ctx context.Context) (sluicev1.Ordering, error) {
	c := s.consumer
	pauses := retries{min: c.config.RetryMinBackoff, max: c.config.RetryMaxBackoff}
	for {
		found, err := c.client.Admin.GetSubscription(ctx, &sluicev1.GetSubscriptionRequest{
			Topic: c.config.Topic, Name: c.config.Subscription,
		})
		if err == nil {
			return found.GetSubscription().GetOrdering(), nil
		}
		failure := toError(err)
		if isEnd(failure) || !sleep(ctx, pauses.pause(failure.RetryDelay)) {
			return 0, failure
		}
	}
}

// received processes a response. Revocations apply to earlier deliveries, so they come first.
func (s *session) received(f *frame) {
	c := s.consumer
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(f.revoked) > 0 {
		s.takenBack = true
		s.poke()
		c.revoke(within(f.revoked))
		for _, group := range s.outbox.drop(f.revoked) {
			group.answer(nil)
			c.resume(group)
		}
	}
	for _, run := range f.runs {
		if len(run) > 0 {
			s.lastDeliveryID = max(s.lastDeliveryID, run[0].run.deliveryID)
		}
		if c.closing {
			break
		}
		c.lanes.add(run)
		if c.credit.hold(len(run)) {
			s.poke()
		}
	}
	for _, settled := range f.settled {
		group := s.unanswered[settled.GetSettlementId()]
		if group == nil {
			continue
		}
		delete(s.unanswered, settled.GetSettlementId())
		group.answer(settled.GetResult().GetStale())
		c.resume(group)
		s.poke()
	}
	c.announce()
}

// resume continues the lanes that waited for this answer.
func (c *Consumer) resume(group *settleGroup) {
	for _, l := range group.paused {
		c.lanes.resume(l)
	}
}

// sessionEnded drops the queued messages, revokes those in hand, and fails the settlements without an answer.
func (c *Consumer) sessionEnded(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session = nil
	c.revoke(everything)
	groups := s.outbox.lapse()
	for _, group := range s.unanswered {
		groups = append(groups, group)
	}
	s.unanswered = nil
	for _, group := range groups {
		group.lapse()
		c.resume(group)
	}
}

// keepOpen serves one stream after another until the consumer is closed or has ended.
func (c *Consumer) keepOpen(ctx context.Context) {
	defer close(c.ended)
	defer c.client.consumers.remove(c)
	defer c.cancel()
	go c.client.whenDone(c.ended, func() {
		c.end(closedError("client"))
		c.leave()
	})
	pauses := retries{min: c.config.RetryMinBackoff, max: c.config.RetryMaxBackoff}
	for {
		isOpened, err := c.serve(ctx)
		c.mu.Lock()
		isClosing := c.closing
		c.mu.Unlock()
		if isClosing {
			return
		}
		if isOpened {
			pauses.worked()
		}
		if err == nil {
			err = ownError(codes.Unavailable, "UNAVAILABLE", "the broker has ended the stream")
		}
		failure := toError(err)
		if isEnd(failure) {
			c.end(failure)
			return
		}
		pause := pauses.pause(failure.RetryDelay)
		c.client.watch.retried("a consumer", c.config.Topic, failure, pause)
		if !sleep(ctx, pause) {
			return
		}
	}
}

// isEnd: a retry cannot succeed.
func isEnd(err *Error) bool {
	switch err.Code {
	case codes.NotFound:
		return err.Reason != ReasonSessionNotFound
	case codes.FailedPrecondition, codes.InvalidArgument, codes.PermissionDenied, codes.Unauthenticated,
		codes.Unimplemented:
		return true
	}
	return false
}

func (c *Consumer) end(err *Error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over == nil {
		c.over = err
	}
	c.changed.Broadcast()
}

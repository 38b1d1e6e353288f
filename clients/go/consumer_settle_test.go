package sluice

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sluice-mq/sluice/clients/go/sluicev1"
)

// A consumer that is closed soon after it was begun, before or behind the opening of its session: what it did not handle
// has not failed.
func TestClosingEarlyChargesNothing(t *testing.T) {
	ctx := testContext(t)
	client := connect(t, shared.Address)
	topic := makeTopic(t, client, &sluicev1.Topic{})
	makeSubscription(t, client, &sluicev1.Subscription{
		Topic: topic, DeadLetter: &sluicev1.DeadLetterPolicy{Disabled: true},
		Retry: &sluicev1.RetryPolicy{MinBackoff: durationpb.New(time.Millisecond), MaxBackoff: durationpb.New(time.Millisecond)},
	})
	publish(t, client, topic, numbered(1, 0)...)
	var handled atomic.Uint32
	for round := range 60 {
		own, err := Connect(shared.Address)
		check(t, err)
		consumer := newConsumer(t, own, ConsumerConfig{Topic: topic})
		stop := runConsumer(t, consumer, func(context.Context, *Delivery) error {
			handled.Add(1)
			return errors.New("handled")
		})
		// From less than it takes to connect to more than it takes to open the session. Where a busy machine takes longer,
		// fewer rounds see an open session: the check is weaker, and does not fail.
		time.Sleep(time.Duration(round%20) * 500 * time.Microsecond)
		stop()
		check(t, own.Close())
		found, err := client.Admin.GetMessage(ctx, &sluicev1.GetMessageRequest{Topic: topic})
		check(t, err)
		if failed := found.GetStatuses()[0].GetFailedAttempts(); failed > handled.Load() {
			t.Fatalf("round %d: %d failed attempts, %d handled", round, failed, handled.Load())
		}
	}
}

// deliverer is a broker that sends what a test tells it, and shows what it is sent.
type deliverer struct {
	sluicev1.UnimplementedAdminServer
	sluicev1.UnimplementedBrokerServer
	responses chan *sluicev1.ConsumeResponse
	requests  chan *sluicev1.ConsumeRequest
	// refusals of GetSubscription before it answers.
	refusals atomic.Int32
}

func (d *deliverer) GetSubscription(
	context.Context, *sluicev1.GetSubscriptionRequest,
) (*sluicev1.GetSubscriptionResponse, error) {
	if d.refusals.Add(-1) >= 0 {
		return nil, status.Error(codes.ResourceExhausted, "rate limit")
	}
	return &sluicev1.GetSubscriptionResponse{Subscription: &sluicev1.Subscription{Ordering: byNothing}}, nil
}

func (d *deliverer) Consume(stream grpc.BidiStreamingServer[sluicev1.ConsumeRequest, sluicev1.ConsumeResponse]) error {
	go func() {
		for {
			select {
			case response := <-d.responses:
				_ = stream.Send(response) // The client is there until the end of the test.
			case <-stream.Context().Done():
				return
			}
		}
	}()
	for {
		request, err := stream.Recv()
		if err != nil {
			return nil
		}
		d.requests <- request
	}
}

func delivered(offset, deliveryID uint64) *sluicev1.ConsumeResponse {
	return &sluicev1.ConsumeResponse{Runs: []*sluicev1.MessageRun{{
		FirstOffset: offset, Attempt: 1, DeliveryId: deliveryID, Messages: []*sluicev1.Message{{}},
	}}}
}

func TestSettlementsSayWhatWasRead(t *testing.T) {
	d := &deliverer{responses: make(chan *sluicev1.ConsumeResponse, 10), requests: make(chan *sluicev1.ConsumeRequest, 10)}
	d.refusals.Store(3)
	client := connect(t, serveFake(t, d, 4<<20))
	consumer := newConsumer(t, client, ConsumerConfig{
		Topic: "t", AckInterval: time.Hour, Concurrency: 20, RetryMinBackoff: time.Millisecond,
	})
	d.responses <- &sluicev1.ConsumeResponse{Opened: &sluicev1.SessionOpened{AckDeadline: durationpb.New(time.Hour)}}
	d.responses <- delivered(0, 5)
	first := receive(t, consumer)
	subscribe := await(t, "the first request", d.requests).GetSubscribe()
	equal(t, subscribe.GetFlowControl().GetMaxOutstandingMessages(), 40, "credit at first")
	late := first.Ack() // Gathered, not sent.
	revoked := delivered(0, 9)
	revoked.Revoked = []*sluicev1.OffsetRange{rangeOf(0, 0, 0)}
	d.responses <- revoked
	equal(t, settled(t, late), false, "settled, although it was taken back before that was sent")
	again := receive(t, consumer)
	again.Nack("no")
	request := await(t, "the nack", d.requests)
	for request.GetFlowControl() != nil { // It waited for a message, behind what was taken back.
		request = await(t, "the nack", d.requests)
	}
	equal(t, len(request.GetSettlements()), 1, "settlements")
	if request.GetSettlements()[0].GetNack() == nil {
		t.Fatalf("not the nack: %v", request)
	}
	equal(t, request.GetLastDeliveryId(), 9, "last delivery id")
	d.responses <- delivered(7, 12)
	third := receive(t, consumer)
	third.Ack()
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(testContext(t))
	go func() { ended <- consumer.Close(ctx) }()
	for request = range d.requests {
		if len(request.GetSettlements()) > 0 {
			break
		}
	}
	equal(t, fmt.Sprint(request.GetSettlements()[0].GetOffsets().GetFirstOffset()), "7", "acknowledged")
	equal(t, request.GetLastDeliveryId(), 12, "last delivery id")
	cancel()
	await(t, "the end", ended)
}

// A session whose leases have lapsed gets nothing more before the broker hears of it: once a handler or a caller waits for
// messages again, the consumer says what it can take, although that is what it said before.
func TestWhatWasTakenBackIsAnsweredWithTheCredit(t *testing.T) {
	deliver := func(t *testing.T) (*deliverer, *Consumer) {
		d := &deliverer{responses: make(chan *sluicev1.ConsumeResponse, 10), requests: make(chan *sluicev1.ConsumeRequest, 10)}
		client := connect(t, serveFake(t, d, 4<<20))
		d.responses <- &sluicev1.ConsumeResponse{Opened: &sluicev1.SessionOpened{AckDeadline: durationpb.New(time.Hour)}}
		d.responses <- delivered(0, 5)
		return d, newConsumer(t, client, ConsumerConfig{Topic: "t"})
	}
	revoked := &sluicev1.ConsumeResponse{Revoked: []*sluicev1.OffsetRange{rangeOf(0, 0, 0)}}
	saysCredit := func(t *testing.T, d *deliverer) {
		t.Helper()
		request := await(t, "the credit", d.requests)
		equal(t, len(request.GetSettlements()), 0, "settlements")
		equal(t, request.GetFlowControl().GetMaxOutstandingMessages(), leastCredit, "credit")
	}
	t.Run("run", func(t *testing.T) {
		d, consumer := deliver(t)
		stop := runConsumer(t, consumer, func(ctx context.Context, _ *Delivery) error {
			<-ctx.Done()
			return nil
		})
		await(t, "the subscription", d.requests)
		d.responses <- revoked
		saysCredit(t, d)
		go func() {
			for range d.requests { // What comes at the end is of no interest.
				continue
			}
		}()
		stop()
	})
	t.Run("receive", func(t *testing.T) {
		d, consumer := deliver(t)
		first := receive(t, consumer)
		await(t, "the subscription", d.requests)
		d.responses <- revoked
		await(t, "the message is taken back", first.Revoked())
		go func() { _, _ = consumer.Receive(testContext(t)) }() // It waits until the end of the test.
		saysCredit(t, d)
	})
}

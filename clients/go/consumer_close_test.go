package sluice

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/sluice-mq/sluice/clients/go/sluicev1"
)

func TestCloseDrains(t *testing.T) {
	client := connect(t, shared.Address)
	topic := makeTopic(t, client, &sluicev1.Topic{})
	publish(t, client, topic, numbered(10, 0)...)
	consumer := newConsumer(t, client, ConsumerConfig{Topic: topic})
	began, goOn := make(chan struct{}, 10), make(chan struct{})
	acks := make(chan Settlement, 10)
	ended := make(chan error, 1)
	go func() {
		ended <- consumer.Run(t.Context(), func(_ context.Context, d *Delivery) error {
			began <- struct{}{}
			<-goOn
			acks <- d.Ack()
			return nil
		})
	}()
	await(t, "a handler", began)
	closed := make(chan error, 1)
	go func() { closed <- consumer.Close(testContext(t)) }()
	awaitThat(t, "it is closing", func() bool {
		consumer.mu.Lock()
		defer consumer.mu.Unlock()
		return consumer.closing
	})
	select {
	case err := <-closed:
		t.Fatalf("closed (%v) while a handler runs", err)
	default:
	}
	close(goOn)
	check(t, await(t, "close", closed))
	check(t, await(t, "run", ended))
	equal(t, len(acks), 1, "handled")
	equal(t, settled(t, <-acks), true, "settled")
	equal(t, backlog(t, client, topic), 9, "backlog")
	next := newConsumer(t, client, ConsumerConfig{Topic: topic})
	d := receive(t, next)
	equal(t, numberOf(t, d), 1, "what comes next")
	equal(t, d.Attempt(), 1, "what was not begun has not failed: attempt")
}

func TestCloseDoesNotWaitForEver(t *testing.T) {
	client := connect(t, shared.Address)
	topic := makeTopic(t, client, &sluicev1.Topic{})
	publish(t, client, topic, numbered(1, 0)...)
	consumer := newConsumer(t, client, ConsumerConfig{Topic: topic, DrainTimeout: 50 * time.Millisecond})
	began, told := make(chan struct{}, 1), make(chan error, 1)
	ctx, cancel := context.WithCancel(testContext(t))
	ended := make(chan error, 1)
	go func() {
		ended <- consumer.Run(ctx, func(ctx context.Context, d *Delivery) error {
			began <- struct{}{}
			<-ctx.Done()
			told <- context.Cause(ctx)
			return nil
		})
	}()
	await(t, "a handler", began)
	cancel()
	equal(t, toError(await(t, "run", ended)).Code, codes.DeadlineExceeded, "code")
	if cause := await(t, "the handler", told); cause == nil {
		t.Fatal("the handler was not told why")
	}
}

func TestReceiveEndsWithItsContext(t *testing.T) {
	client := connect(t, shared.Address)
	topic := makeTopic(t, client, &sluicev1.Topic{})
	consumer := newConsumer(t, client, ConsumerConfig{Topic: topic})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err := consumer.Receive(ctx)
	equal(t, err, context.DeadlineExceeded, "receive")
	for range consumer.Deliveries(ctx) {
		t.Fatal("a delivery after the end")
	}
	publish(t, client, topic, &Message{})
	equal(t, receive(t, consumer).Offset(), 0, "offset")
	err = consumer.Run(t.Context(), func(context.Context, *Delivery) error { return nil })
	equal(t, toError(err).Code, codes.FailedPrecondition, "code of a second use")
}

func TestWhatCanNotMendEndsTheConsumer(t *testing.T) {
	client := connect(t, shared.Address)
	topic := makeTopic(t, client, &sluicev1.Topic{})
	publish(t, client, topic, &Message{})
	consumer := newConsumer(t, client, ConsumerConfig{Topic: topic})
	handled := make(chan struct{}, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- consumer.Run(t.Context(), func(context.Context, *Delivery) error {
			handled <- struct{}{}
			return nil
		})
	}()
	await(t, "a message", handled)
	_, err := client.Admin.DeleteSubscription(testContext(t), &sluicev1.DeleteSubscriptionRequest{Topic: topic, Name: "sub"})
	check(t, err)
	equal(t, ReasonOf(await(t, "the end", ended)), ReasonSubscriptionDeleted, "reason")

	bad := newConsumer(t, client, ConsumerConfig{Topic: "no blanks"})
	for _, err := range bad.Deliveries(testContext(t)) {
		equal(t, ReasonOf(err), ReasonInvalidName, "reason")
	}
	_, err = bad.Receive(testContext(t))
	equal(t, ReasonOf(err), ReasonInvalidName, "and from then on")
	_, err = client.NewConsumer(ConsumerConfig{Topic: topic})
	equal(t, ReasonOf(err), ReasonInvalidField, "reason without a subscription")
	_, err = client.NewConsumer(ConsumerConfig{Topic: topic, Subscription: "s", Concurrency: -1})
	equal(t, ReasonOf(err), ReasonInvalidField, "reason of a negative setting")
}

func TestClosingTheClientEndsWhatIsOpen(t *testing.T) {
	ctx := testContext(t)
	other := connect(t, shared.Address)
	topic := makeTopic(t, other, &sluicev1.Topic{})
	client, err := Connect(shared.Address)
	check(t, err)
	producer := openProducer(t, client, ProducerConfig{Topic: topic, Linger: time.Hour})
	result := producer.Send(ctx, &Message{})
	consumer := newConsumer(t, client, ConsumerConfig{Topic: topic})
	received := make(chan error, 1)
	go func() {
		_, err := consumer.Receive(ctx)
		received <- err
	}()
	awaitThat(t, "a session", func() bool { return grantedMessages(t, other, topic) > 0 })
	check(t, client.Close())
	equal(t, ReasonOf(await(t, "receive", received)), ReasonClosed, "reason of receive")
	_, err = result.Get(ctx)
	equal(t, ReasonOf(err), ReasonClosed, "reason of what waited to be sent")
	_, err = producer.Publish(ctx, &Message{})
	equal(t, ReasonOf(err), ReasonClosed, "reason of what comes afterwards")
	await(t, "the producer has ended", producer.ended)
}

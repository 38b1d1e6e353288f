package sluice

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/sluice-mq/sluice/clients/go/internal/brokertest"
	"github.com/sluice-mq/sluice/clients/go/sluicev1"
)

func startProxy(t *testing.T, target string) *brokertest.Proxy {
	t.Helper()
	proxy, err := brokertest.StartProxy(target)
	check(t, err)
	t.Cleanup(proxy.Close)
	return proxy
}

// A batch is given up while its bytes lie in a connection that died. They arrive later: they are not stored, or at least
// not taken for the next batch.
func TestWhatWasGivenUpIsNotStoredLater(t *testing.T) {
	ctx := testContext(t)
	direct := connect(t, shared.Address)
	topic := makeTopic(t, direct, &sluicev1.Topic{})
	proxy := startProxy(t, shared.Address)
	producer := openProducer(t, connect(t, proxy.Address), ProducerConfig{Topic: topic, RetryTimeout: 3 * time.Second})
	_, err := producer.Publish(ctx, &Message{Payload: []byte("first")})
	check(t, err)
	proxy.Hold()
	givenUp := producer.Send(ctx, &Message{Payload: []byte("given up")})
	awaitThat(t, "the message is held", func() bool { return proxy.Holds("given up") })
	proxy.Refuse(true)
	proxy.Cut()
	_, err = givenUp.Get(ctx)
	equal(t, toError(err).Code, codes.DeadlineExceeded, "code")
	proxy.Refuse(false)
	awaitThat(t, "a new stream", func() bool {
		producer.mu.Lock()
		defer producer.mu.Unlock()
		return producer.current != nil
	})
	await(t, "the broker's answer to what was held", proxy.Release(string(ReasonProducerFenced)))
	receipt, err := producer.Publish(ctx, &Message{Payload: []byte("next")})
	check(t, err)
	equal(t, receipt.Duplicate, false, "duplicate")
	stored := readLog(t, direct, topic)
	equal(t, len(stored), 2, "messages in the log")
	equal(t, string(stored[place{receipt.Partition, receipt.Offset}].GetPayload()), "next", "what the receipt stands for")
}

// A batch is given up and stored after all, because the broker only slept: the next one is stored, too.
func TestWhatWasGivenUpAndStoredIsNotTakenForTheNext(t *testing.T) {
	ctx := testContext(t)
	broker := ownBroker(t)
	client := connect(t, broker.Address)
	topic := makeTopic(t, client, &sluicev1.Topic{})
	producer := openProducer(t, client, ProducerConfig{Topic: topic, RetryTimeout: 3 * time.Second})
	_, err := producer.Publish(ctx, &Message{Payload: []byte("first")})
	check(t, err)
	check(t, broker.Stop())
	_, err = producer.Publish(ctx, &Message{Payload: []byte("given up")})
	equal(t, toError(err).Code, codes.DeadlineExceeded, "code")
	check(t, broker.Continue())
	awaitThat(t, "a message is stored again", func() bool {
		_, err := producer.Publish(ctx, &Message{Payload: []byte("again")})
		return err == nil
	})
	for i := range 3 {
		receipt, err := producer.Publish(ctx, &Message{Payload: fmt.Append(nil, i)})
		check(t, err)
		equal(t, receipt.Duplicate, false, "duplicate")
		stored := readLog(t, client, topic)
		equal(t, string(stored[place{receipt.Partition, receipt.Offset}].GetPayload()), fmt.Sprint(i), "what is at its place")
	}
}

// lateness is how much later than it should a timer fires that starts now: what a busy machine adds to every timer.
func lateness(after time.Duration) <-chan time.Duration {
	late := make(chan time.Duration, 1)
	began := time.Now()
	go func() {
		time.Sleep(after)
		late <- time.Since(began) - after
	}()
	return late
}

// Whatever the broker does, each message fails about when its time is over; and Close does not take longer, either.
func TestEachMessageFailsWhenItsTimeIsOver(t *testing.T) {
	const timeout, slack = 2 * time.Second, time.Second
	for name, harm := range map[string]func(*brokertest.Broker) error{
		"stopped": (*brokertest.Broker).Stop,
		"killed":  func(b *brokertest.Broker) error { b.Kill(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			broker := ownBroker(t)
			client := connect(t, broker.Address)
			topic := makeTopic(t, client, &sluicev1.Topic{})
			producer := openProducer(t, client, ProducerConfig{Topic: topic, RetryTimeout: timeout, BufferMaxBytes: 100})
			_, err := producer.Publish(t.Context(), &Message{})
			check(t, err)
			check(t, harm(broker))
			var sending sync.WaitGroup
			for i := range 4 {
				// The second and those behind it wait for room in the buffer, too.
				spawn(&sending, func() {
					time.Sleep(time.Duration(i) * 700 * time.Millisecond)
					began, late := time.Now(), lateness(timeout)
					_, err := producer.Publish(t.Context(), &Message{Payload: make([]byte, 200)})
					if took := time.Since(began); took < timeout-slack || took > timeout+slack+<-late {
						t.Errorf("message %d failed after %v", i, took)
					}
					if err == nil || toError(err).Code != codes.DeadlineExceeded {
						t.Errorf("message %d: %v", i, err)
					}
				})
			}
			sending.Wait()
			producer.Send(t.Context(), &Message{})
			began, late := time.Now(), lateness(timeout)
			check(t, producer.Close(t.Context()))
			if took := time.Since(began); took > timeout+2*slack+<-late {
				t.Errorf("closed after %v", took)
			}
		})
	}
}

func TestAProducerGoesOnBehindABrokerThatSlept(t *testing.T) {
	ctx := testContext(t)
	broker := ownBroker(t)
	client := connect(t, broker.Address)
	topic := makeTopic(t, client, &sluicev1.Topic{})
	producer := openProducer(t, client, ProducerConfig{Topic: topic, RetryTimeout: 1500 * time.Millisecond, BatchMaxMessages: 1})
	check(t, broker.Stop())
	for range 3 {
		_, err := producer.Publish(ctx, &Message{})
		equal(t, toError(err).Code, codes.DeadlineExceeded, "code")
	}
	check(t, broker.Continue())
	awaitThat(t, "a message is stored again", func() bool {
		_, err := producer.Publish(ctx, &Message{})
		return err == nil
	})
}

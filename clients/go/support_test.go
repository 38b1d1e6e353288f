package sluice

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sluice-mq/sluice/clients/go/sluicev1"
)

func newConsumer(t *testing.T, client *Client, config ConsumerConfig) *Consumer {
	t.Helper()
	if config.Subscription == "" {
		config.Subscription = "sub"
	}
	consumer, err := client.NewConsumer(config)
	check(t, err)
	t.Cleanup(func() {
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		_ = consumer.Close(ended) // What is left of it is of no interest any more.
	})
	return consumer
}

// runConsumer runs it until the function that it returns is called, which checks how it ended.
func runConsumer(t *testing.T, consumer *Consumer, handle Handler) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- consumer.Run(ctx, handle) }()
	return func() {
		t.Helper()
		cancel()
		check(t, <-ended)
	}
}

func makeSubscription(t *testing.T, client *Client, subscription *sluicev1.Subscription) {
	t.Helper()
	if subscription.Name == "" {
		subscription.Name = "sub"
	}
	_, err := client.Admin.CreateSubscription(testContext(t), &sluicev1.CreateSubscriptionRequest{Subscription: subscription})
	check(t, err)
}

// publish sends messages, and waits until they are durable.
func publish(t *testing.T, client *Client, topic string, messages ...*Message) {
	t.Helper()
	producer := openProducer(t, client, ProducerConfig{Topic: topic})
	var last *Result
	for _, message := range messages {
		last = producer.Send(testContext(t), message)
	}
	check(t, producer.Flush(testContext(t)))
	_, err := last.Get(t.Context())
	check(t, err)
}

// numbered are messages with their number as payload, over so many keys; without a key if there are none.
func numbered(count, keys int) []*Message {
	messages := make([]*Message, count)
	for i := range messages {
		messages[i] = &Message{Payload: fmt.Append(nil, i)}
		if keys > 0 {
			messages[i].Key = fmt.Appendf(nil, "key-%d", i%keys)
		}
	}
	return messages
}

func numberOf(t *testing.T, d *Delivery) int {
	var number int
	if _, err := fmt.Sscan(string(d.Payload), &number); err != nil {
		t.Errorf("payload %q: %v", d.Payload, err)
	}
	return number
}

// backlog of a subscription, over all partitions.
func backlog(t *testing.T, client *Client, topic string) uint64 {
	t.Helper()
	found, err := client.Admin.GetSubscription(testContext(t), &sluicev1.GetSubscriptionRequest{Topic: topic, Name: "sub"})
	check(t, err)
	count := uint64(0)
	for _, partition := range found.GetSubscription().GetPartitions() {
		count += partition.GetBacklogMessageCount()
	}
	return count
}

func receive(t *testing.T, consumer *Consumer) *Delivery {
	t.Helper()
	d, err := consumer.Receive(testContext(t))
	check(t, err)
	return d
}

// endLease ends the lease of a message of partition 0 at once. So a lease can be so long that a busy machine keeps it.
func endLease(t *testing.T, client *Client, topic string, offset uint64) {
	t.Helper()
	found, err := client.Admin.ListConsumers(testContext(t), &sluicev1.ListConsumersRequest{Topic: topic})
	check(t, err)
	equal(t, len(found.GetConsumers()), 1, "sessions")
	ended, err := client.Broker.Acknowledge(testContext(t), &sluicev1.AcknowledgeRequest{
		SessionId: found.GetConsumers()[0].GetSessionId(),
		Settlements: []*sluicev1.Settlement{{
			Offsets: rangeOf(0, offset, offset),
			Outcome: &sluicev1.Settlement_Extend{Extend: &sluicev1.Settlement_ExtendDeadline{By: durationpb.New(time.Millisecond)}},
		}},
	})
	check(t, err)
	equal(t, len(ended.GetStale()), 0, "leases that were over already")
}

func settled(t *testing.T, settlement Settlement) bool {
	t.Helper()
	isSettled, err := settlement.Wait(testContext(t))
	check(t, err)
	return isSettled
}

// laneWatch checks that of one partition or key nothing is handled twice at once or out of order.
type laneWatch struct {
	t       *testing.T
	mu      sync.Mutex
	running map[string]bool
	next    map[string]int
	handled int
	most    int
	all     chan struct{}
	total   int
}

func watchLanes(t *testing.T, total int) *laneWatch {
	return &laneWatch{t: t, running: map[string]bool{}, next: map[string]int{}, all: make(chan struct{}), total: total}
}

func (w *laneWatch) handle(lane string, number int) (finish func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running[lane] {
		w.t.Errorf("two handlers at once for %s", lane)
	}
	if number < w.next[lane] {
		w.t.Errorf("%d of %s after %d", number, lane, w.next[lane]-1)
	}
	w.running[lane] = true
	w.next[lane] = number + 1
	w.most = max(w.most, len(w.running))
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.running, lane)
		if w.handled++; w.handled == w.total {
			close(w.all)
		}
	}
}

// spawn runs a goroutine that the group waits for.
func spawn(group *sync.WaitGroup, run func()) {
	group.Add(1)
	go func() {
		defer group.Done()
		run()
	}()
}

func await[T any](t *testing.T, what string, events <-chan T) T {
	t.Helper()
	select {
	case event := <-events:
		return event
	case <-time.After(testLimit):
		t.Fatalf("in vain: %s", what)
		panic("unreachable")
	}
}

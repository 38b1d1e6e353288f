package sluice

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-mq/sluice/clients/go/sluicev1"
)

func TestOrderIsKeptWithManyHandlers(t *testing.T) {
	lanes := map[sluicev1.Ordering]func(*Delivery) string{
		byPartition: func(d *Delivery) string { return fmt.Sprint(d.Partition()) },
		byKey:       func(d *Delivery) string { return string(d.Key) },
		byNothing:   func(d *Delivery) string { return fmt.Sprint(d.Partition(), d.Offset()) },
	}
	for ordering, laneOf := range lanes {
		t.Run(ordering.String(), func(t *testing.T) {
			client := connect(t, shared.Address)
			topic := makeTopic(t, client, &sluicev1.Topic{PartitionCount: 4})
			makeSubscription(t, client, &sluicev1.Subscription{Topic: topic, Ordering: ordering})
			messages := numbered(900, 23)
			// So few that the credit which a consumer begins with is enough for those of several lanes.
			publish(t, client, topic, messages[:12]...)
			watch := watchLanes(t, 900)
			// The first handlers wait for each other, so that several do run at once.
			var together sync.WaitGroup
			together.Add(3)
			first := make(chan struct{}, 3)
			consumer := newConsumer(t, client, ConsumerConfig{Topic: topic, Concurrency: 8})
			stop := runConsumer(t, consumer, func(_ context.Context, d *Delivery) error {
				defer watch.handle(laneOf(d), numberOf(t, d))()
				select {
				case first <- struct{}{}:
					together.Done()
					together.Wait()
				default:
				}
				return nil
			})
			publish(t, client, topic, messages[12:]...)
			await(t, "all are handled", watch.all)
			stop()
			equal(t, backlog(t, client, topic), 0, "backlog")
			if watch.most < 3 {
				t.Fatalf("only %d handlers at once", watch.most)
			}
		})
	}
}

func TestADurableAckIsTrueAndTheMessageDoesNotComeAgain(t *testing.T) {
	client := connect(t, shared.Address)
	topic := makeTopic(t, client, &sluicev1.Topic{})
	traced := &Message{Key: []byte("k"), Headers: map[string]string{
		"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
	}}
	publish(t, client, topic, traced, &Message{Payload: []byte("second")})
	first := newConsumer(t, client, ConsumerConfig{Topic: topic})
	d := receive(t, first)
	equal(t, d.Topic(), topic, "topic")
	equal(t, d.Attempt(), 1, "attempt")
	equal(t, d.Headers["traceparent"], traced.Headers["traceparent"], "traceparent")
	equal(t, string(d.Key), "k", "key")
	if age := time.Since(d.PublishTime()); age < -time.Minute || age > time.Minute {
		t.Fatalf("published %v ago", age)
	}
	ack := d.Ack()
	equal(t, settled(t, ack), true, "settled")
	equal(t, settled(t, d.Nack("too late")), true, "what is done first counts")
	equal(t, settled(t, d.Extend(time.Minute)), false, "an extension of what is settled")
	check(t, first.Close(testContext(t)))
	_, err := first.Receive(testContext(t))
	equal(t, ReasonOf(err), ReasonClosed, "reason after close")
	second := newConsumer(t, client, ConsumerConfig{Topic: topic})
	d = receive(t, second)
	equal(t, string(d.Payload), "second", "what comes next")
	equal(t, d.Attempt(), 1, "what was received and not settled when the first left has not failed: attempt")
}

// A caller that settles nothing before it has many messages gets them, although credit begins with little.
func TestManyMessagesCanBeInHand(t *testing.T) {
	client := connect(t, shared.Address)
	topic := makeTopic(t, client, &sluicev1.Topic{})
	publish(t, client, topic, numbered(200, 0)...)
	consumer := newConsumer(t, client, ConsumerConfig{Topic: topic, MaxOutstandingMessages: 150})
	var all []*Delivery
	for i := range 150 {
		all = append(all, receive(t, consumer))
		if i == 50 {
			time.Sleep(shrinkAfter + 2*creditEvery) // So slow that the credit shrinks.
		}
	}
	// A message that comes too late for this is not noticed: a busy machine weakens the check, and does not fail it.
	none, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if d, err := consumer.Receive(none); err == nil {
		t.Fatalf("message %d was received above the most", d.Offset())
	}
	for _, d := range all {
		equal(t, settled(t, d.Ack()), true, "settled")
	}
	receive(t, consumer)
}

// A burst of tasks is shared by idle workers: none of them gets so much that another one gets nothing.
func TestIdleWorkersShareABurst(t *testing.T) {
	const workers, tasks = 3, 24
	client := connect(t, shared.Address)
	topic := makeTopic(t, client, &sluicev1.Topic{})
	makeSubscription(t, client, &sluicev1.Subscription{Topic: topic, Ordering: byNothing})
	var begun sync.WaitGroup
	begun.Add(workers)
	all := make(chan struct{}, tasks)
	var stops []func()
	for range workers {
		var first sync.Once
		consumer := newConsumer(t, connect(t, shared.Address), ConsumerConfig{Topic: topic})
		stops = append(stops, runConsumer(t, consumer, func(context.Context, *Delivery) error {
			first.Do(begun.Done)
			begun.Wait() // No worker goes on before each of them has a task.
			all <- struct{}{}
			return nil
		}))
	}
	awaitThat(t, "all workers have a session", func() bool {
		found, err := client.Admin.ListConsumers(testContext(t), &sluicev1.ListConsumersRequest{Topic: topic})
		check(t, err)
		return len(found.GetConsumers()) == workers
	})
	publish(t, client, topic, numbered(tasks, 0)...)
	for range tasks {
		await(t, "all tasks are done", all)
	}
	for _, stop := range stops {
		stop()
	}
}

func TestWhereASubscriptionBegins(t *testing.T) {
	client := connect(t, shared.Address)
	topic := makeTopic(t, client, &sluicev1.Topic{})
	publish(t, client, topic, numbered(5, 0)...)
	for _, begins := range []struct {
		name  string
		start *sluicev1.StartPosition
		first uint64
	}{
		{"by-default", nil, 0}, {"earliest", Earliest(), 0}, {"offset", AtOffset(3), 3},
		{"time", AtTime(time.Unix(0, 0)), 0}, {"latest", Latest(), 5},
	} {
		consumer := newConsumer(t, client, ConsumerConfig{Topic: topic, Subscription: begins.name, Start: begins.start})
		first := make(chan *Delivery, 1)
		go func() {
			if d, err := consumer.Receive(t.Context()); err == nil {
				first <- d
			}
		}()
		if begins.name == "latest" {
			awaitThat(t, "the session is open", func() bool {
				consumer.mu.Lock()
				defer consumer.mu.Unlock()
				return consumer.session != nil && consumer.session.open
			})
			publish(t, client, topic, &Message{})
		}
		equal(t, await(t, "a message", first).Offset(), begins.first, "first offset from "+begins.name)
	}
}

// grantedMessages is the credit that the broker has been told.
func grantedMessages(t *testing.T, client *Client, topic string) uint32 {
	t.Helper()
	consumers, err := client.Admin.ListConsumers(testContext(t), &sluicev1.ListConsumersRequest{Topic: topic})
	check(t, err)
	if len(consumers.GetConsumers()) == 0 {
		return 0
	}
	return consumers.GetConsumers()[0].GetFlowControl().GetMaxOutstandingMessages()
}

func TestCreditFollowsTheSpeed(t *testing.T) {
	// A busy machine handles so many a second, too.
	const most = 500
	client := connect(t, shared.Address)
	topic := makeTopic(t, client, &sluicev1.Topic{})
	var isSlow atomic.Bool
	consumer := newConsumer(t, client, ConsumerConfig{Topic: topic, MaxOutstandingMessages: most})
	stop := runConsumer(t, consumer, func(ctx context.Context, d *Delivery) error {
		if isSlow.Load() {
			sleep(ctx, 50*time.Millisecond)
		}
		return nil
	})
	producer := openProducer(t, client, ProducerConfig{Topic: topic})
	ctx := testContext(t)
	// There is always something to handle.
	sendMore := func() {
		for range most {
			producer.Send(ctx, &Message{})
		}
		check(t, producer.Flush(ctx))
	}
	awaitThat(t, "all is granted while handlers are fast", func() bool {
		sendMore()
		return grantedMessages(t, client, topic) == most
	})
	isSlow.Store(true)
	sendMore()
	awaitThat(t, "little is granted while handlers are slow", func() bool {
		granted := grantedMessages(t, client, topic)
		return granted >= leastCredit && granted <= 40
	})
	stop()
}

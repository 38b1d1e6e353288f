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

// Under load, the broker is killed with -9 again and again: everything is handled, each partition in order, and what
// was acknowledged durably never comes again.
func TestAConsumerSurvivesKills(t *testing.T) {
	const count, kills = 30_000, 3
	broker := ownBroker(t)
	client := connect(t, broker.Address)
	topic := makeTopic(t, client, &sluicev1.Topic{PartitionCount: 4})
	publish(t, client, topic, numbered(count, 31)...)

	type seen struct{ handled, durable int }
	var mu sync.Mutex
	messages := make([]seen, count)
	running := map[uint32]bool{}
	var acks sync.WaitGroup
	progress := make(chan struct{}, count)
	consumer := newConsumer(t, client, ConsumerConfig{Topic: topic, Concurrency: 3, MaxOutstandingMessages: 500})
	stop := runConsumer(t, consumer, func(_ context.Context, d *Delivery) error {
		number := numberOf(t, d)
		mu.Lock()
		if running[d.Partition()] {
			t.Errorf("two handlers at once for partition %d", d.Partition())
		}
		running[d.Partition()] = true
		if messages[number].durable > 0 {
			t.Errorf("message %d comes again although its acknowledgement was durable", number)
		}
		messages[number].handled++
		isFirst := messages[number].handled == 1
		mu.Unlock()
		if isFirst {
			progress <- struct{}{}
		}
		mu.Lock()
		running[d.Partition()] = false
		mu.Unlock()
		ack := d.Ack()
		spawn(&acks, func() {
			if isDurable, err := ack.Wait(t.Context()); err == nil && isDurable {
				mu.Lock()
				defer mu.Unlock()
				messages[number].durable++
			}
		})
		return nil
	})
	handled := 0
	for kill := range kills {
		for ; handled < (kill+1)*count/(kills+1); handled++ {
			await(t, "progress", progress)
		}
		check(t, broker.Restart())
	}
	after := connect(t, broker.Address)
	for ; handled < count; handled++ {
		await(t, "everything is handled", progress)
	}
	// What was handled and not acknowledged durably comes again, unless only the answer was lost.
	awaitThat(t, "the backlog is gone", func() bool { return backlog(t, after, topic) == 0 })
	stop()
	acks.Wait()
	again := 0
	for number, message := range messages {
		if message.durable > 1 {
			t.Errorf("message %d was acknowledged %d times", number, message.durable)
		}
		again += message.handled - 1
	}
	t.Logf("%d messages through %d kills, %d of them came again", count, kills, again)
}

// A handler that runs while the broker is killed keeps its partition: what comes over the new stream waits for it.
func TestAHandlerOfABrokenStreamKeepsItsPartition(t *testing.T) {
	broker := ownBroker(t)
	client := connect(t, broker.Address)
	topic := makeTopic(t, client, &sluicev1.Topic{PartitionCount: 2})
	makeSubscription(t, client, &sluicev1.Subscription{
		Topic: topic, Retry: &sluicev1.RetryPolicy{MinBackoff: durationpb.New(time.Millisecond)},
	})
	busy, idle := keyOf(0), keyOf(1)
	publish(t, client, topic, &Message{Key: busy}, &Message{Key: busy})
	began := make(chan struct{}, 1)
	goOn := make(chan struct{})
	lost := make(chan Settlement, 1)
	others := make(chan string, 10)
	consumer := newConsumer(t, client, ConsumerConfig{Topic: topic, Concurrency: 4})
	isFirst := true
	stop := runConsumer(t, consumer, func(ctx context.Context, d *Delivery) error {
		if d.Partition() == 0 && isFirst {
			isFirst = false
			began <- struct{}{}
			await(t, "the stream is broken", ctx.Done())
			<-goOn
			lost <- d.Ack()
			return nil
		}
		others <- fmt.Sprintf("%d:%d", d.Partition(), d.Offset())
		return nil
	})
	await(t, "a handler", began)
	check(t, broker.Restart())
	publish(t, connect(t, broker.Address), topic, &Message{Key: idle})
	equal(t, await(t, "the other partition", others), "1:0", "what is handled meanwhile")
	awaitThat(t, "the first is there again", func() bool {
		consumer.mu.Lock()
		defer consumer.mu.Unlock()
		return consumer.lanes.queuedCount > 0
	})
	equal(t, len(others), 0, "handled of the busy partition")
	close(goOn)
	equal(t, settled(t, await(t, "the old handler", lost)), false, "settled by the old handler")
	equal(t, await(t, "the first again", others), "0:0", "what comes next")
	equal(t, await(t, "the second", others), "0:1", "what comes then")
	stop()
}

// keyOf two partitions.
func keyOf(partition uint32) []byte {
	for i := 0; ; i++ {
		if key := fmt.Append(nil, i); PartitionOfKey(key, 2) == partition {
			return key
		}
	}
}

// Closing while the broker is away does not wait for it.
func TestCloseOfAConsumerWithoutABroker(t *testing.T) {
	broker := ownBroker(t)
	client := connect(t, broker.Address)
	topic := makeTopic(t, client, &sluicev1.Topic{})
	publish(t, client, topic, &Message{})
	consumer := newConsumer(t, client, ConsumerConfig{Topic: topic})
	d := receive(t, consumer)
	broker.Kill()
	await(t, "the stream is broken", d.Revoked())
	check(t, consumer.Close(testContext(t)))
	equal(t, settled(t, d.Ack()), false, "settled afterwards")
}

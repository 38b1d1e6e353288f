package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	sluice "github.com/sluice-mq/sluice/clients/go"
	"github.com/sluice-mq/sluice/clients/go/sluicev1"
)

const pollEvery = 20 * time.Millisecond

// produced is what produce prints: the place of each message, or null where a retry found it stored.
type produced struct {
	Sent     int          `json:"sent"`
	Receipts []*[2]uint64 `json:"receipts"`
}

// produce sends each message by itself, in order, and waits for every receipt.
func produce(ctx context.Context, client *sluice.Client, topic string, messages []*sluice.Message) (any, error) {
	producer, err := openProducer(ctx, client, topic)
	if err != nil {
		return nil, err
	}
	results := make([]*sluice.Result, len(messages))
	for i, message := range messages {
		results[i] = producer.Send(ctx, message)
	}
	done := produced{Sent: len(messages), Receipts: make([]*[2]uint64, len(messages))}
	for i, result := range results {
		receipt, err := result.Get(ctx)
		if err != nil {
			return nil, fmt.Errorf("message %d: %w", i, err)
		}
		if receipt.HasPlace {
			done.Receipts[i] = &[2]uint64{uint64(receipt.Partition), receipt.Offset}
		}
	}
	return done, producer.Close(ctx)
}

// openProducer also while the broker is away: it comes back.
func openProducer(ctx context.Context, client *sluice.Client, topic string) (*sluice.Producer, error) {
	for {
		producer, err := client.OpenProducer(ctx, sluice.ProducerConfig{Topic: topic})
		if sluice.ReasonOf(err) != sluice.Reason("UNAVAILABLE") {
			return producer, err
		}
		if err := pause(ctx); err != nil {
			return nil, err
		}
	}
}

// consumed is what consume prints.
type consumed struct {
	Received    int      `json:"received"`
	Redelivered int      `json:"redelivered"`
	Problems    []string `json:"problems"`
}

func (c consumed) failed() bool { return len(c.Problems) > 0 }

// consume handles every message of the case, until every acknowledgement is durable.
func consume(
	ctx context.Context, client *sluice.Client, topic, subscription string, messages []*sluice.Message,
) (any, error) {
	consumer, err := client.NewConsumer(sluice.ConsumerConfig{Topic: topic, Subscription: subscription})
	if err != nil {
		return nil, err
	}
	books := newCheck(messages)
	ended := make(chan error, 1)
	go func() { ended <- consumer.Run(ctx, books.handle) }()
	for !books.isDone(ctx, func() bool { return isCaughtUp(ctx, client, topic, subscription) }) {
		select {
		case err := <-ended:
			return nil, fmt.Errorf("the consumer has ended: %w", err)
		case <-time.After(pollEvery):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if err := consumer.Close(ctx); err != nil {
		return nil, err
	}
	return books.result(), <-ended
}

func isCaughtUp(ctx context.Context, client *sluice.Client, topic, name string) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	found, err := client.Admin.GetSubscription(ctx, &sluicev1.GetSubscriptionRequest{Topic: topic, Name: name})
	if err != nil {
		// It is down: asked again later.
		return false
	}
	for _, partition := range found.GetSubscription().GetPartitions() {
		if partition.GetBacklogMessageCount() > 0 {
			return false
		}
	}
	return true
}

func pause(ctx context.Context) error {
	select {
	case <-time.After(pollEvery):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

type place struct {
	partition uint32
	offset    uint64
}

// check compares what comes with what was sent, and keeps the books of acknowledgements.
type check struct {
	messages []*sluice.Message
	// wanted has the indexes of the messages that may be meant by a key and a payload, in their order.
	wanted map[string][]int

	mu        sync.Mutex
	handled   map[place]bool
	durable   map[place]bool
	lastOfKey map[string]int
	// unanswered acknowledgements, oldest first.
	unanswered []acknowledged
	consumed
}

type acknowledged struct {
	place
	settlement sluice.Settlement
}

func newCheck(messages []*sluice.Message) *check {
	c := &check{
		messages: messages, wanted: map[string][]int{},
		handled: map[place]bool{}, durable: map[place]bool{}, lastOfKey: map[string]int{},
		consumed: consumed{Problems: []string{}},
	}
	for i, m := range messages {
		c.wanted[nameOf(m)] = append(c.wanted[nameOf(m)], i)
	}
	return c
}

func nameOf(m *sluice.Message) string { return string(m.Key) + "\n" + string(m.Payload) }

// handle acknowledges, and goes on without the answer.
func (c *check) handle(_ context.Context, d *sluice.Delivery) error {
	at := place{d.Partition(), d.Offset()}
	settlement := d.Ack()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.durable[at] {
		c.problem(at, "comes again although its acknowledgement is durable")
	}
	if c.handled[at] {
		c.Redelivered++
	} else {
		c.handled[at] = true
		c.Received++
		c.firstTime(at, &d.Message)
	}
	c.unanswered = append(c.unanswered, acknowledged{at, settlement})
	return nil
}

func (c *check) firstTime(at place, found *sluice.Message) {
	indexes := c.wanted[nameOf(found)]
	if len(indexes) == 0 {
		c.problem(at, "was never sent")
		return
	}
	which := 0
	for i, index := range indexes {
		if difference(c.messages[index], found) == "" {
			which = i
			break
		}
	}
	index := indexes[which]
	c.wanted[nameOf(found)] = append(indexes[:which:which], indexes[which+1:]...)
	if text := difference(c.messages[index], found); text != "" {
		c.problem(at, text)
	}
	if len(found.Key) == 0 {
		return
	}
	if last, isKnown := c.lastOfKey[string(found.Key)]; isKnown && index < last {
		c.problem(at, fmt.Sprintf("its key %q is out of order", found.Key))
	}
	c.lastOfKey[string(found.Key)] = index
}

// isDone when every message was handled and every acknowledgement is durable. An answer that a broken stream has
// swallowed does not come again, and neither does its message: then the broker is asked.
func (c *check) isDone(ctx context.Context, isCaughtUp func() bool) bool {
	c.mu.Lock()
	for len(c.unanswered) > 0 {
		oldest := c.unanswered[0]
		select {
		case <-oldest.settlement.Done():
		default:
			c.mu.Unlock()
			return false
		}
		if isDurable, err := oldest.settlement.Wait(ctx); err == nil && isDurable {
			c.durable[oldest.place] = true
		}
		c.unanswered = c.unanswered[1:]
	}
	isHandled, isDurable := c.Received >= len(c.messages), len(c.durable) >= len(c.messages)
	c.mu.Unlock()
	return isDurable || isHandled && isCaughtUp()
}

func (c *check) result() consumed {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.consumed
}

func (c *check) problem(at place, text string) {
	if len(c.Problems) < 100 {
		c.Problems = append(c.Problems, fmt.Sprintf("partition %d, offset %d: %s", at.partition, at.offset, text))
	}
}

package sluice

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sluice-mq/sluice/clients/go/sluicev1"
)

func TestBehindAFailedMessageOrderIsKept(t *testing.T) {
	for _, ordering := range []sluicev1.Ordering{byPartition, byKey} {
		t.Run(ordering.String(), func(t *testing.T) {
			client := connect(t, shared.Address)
			topic := makeTopic(t, client, &sluicev1.Topic{})
			makeSubscription(t, client, &sluicev1.Subscription{Topic: topic, Ordering: ordering})
			publish(t, client, topic, numbered(100, 2)...)
			var mu sync.Mutex
			var handled []int
			all := make(chan struct{})
			consumer := newConsumer(t, client, ConsumerConfig{Topic: topic, Concurrency: 4})
			stop := runConsumer(t, consumer, func(_ context.Context, d *Delivery) error {
				number := numberOf(t, d)
				// Three fail, one of them twice, one with a delay of its own.
				switch {
				case number == 10 && d.Attempt() == 1:
					d.NackAfter(50*time.Millisecond, "later")
					return nil
				case number == 31 && d.Attempt() <= 2, number == 60 && d.Attempt() == 1:
					return errors.New("not yet")
				}
				mu.Lock()
				defer mu.Unlock()
				handled = append(handled, number)
				if len(handled) == 100 {
					close(all)
				}
				return nil
			})
			await(t, "all are handled", all)
			stop()
			next := map[int]int{0: 0, 1: 1}
			for i, number := range handled {
				lane := number % 2
				if ordering == byPartition {
					equal(t, number, i, "number in its order")
				} else if number != next[lane] {
					t.Fatalf("%d of key %d, want %d", number, lane, next[lane])
				}
				next[lane] = number + 2
			}
			equal(t, backlog(t, client, topic), 0, "backlog")
		})
	}
}

func TestReceiveHoldsBackWhatIsBehindAFailedMessage(t *testing.T) {
	client := connect(t, shared.Address)
	topic := makeTopic(t, client, &sluicev1.Topic{})
	publish(t, client, topic, numbered(20, 0)...)
	consumer := newConsumer(t, client, ConsumerConfig{Topic: topic})
	var got []int
	ctx := testContext(t)
	for d, err := range consumer.Deliveries(ctx) {
		check(t, err)
		number := numberOf(t, d)
		if number == 7 && d.Attempt() == 1 {
			d.NackAfter(0, "again")
			continue
		}
		got = append(got, number)
		if isSettled := settled(t, d.Ack()); !isSettled {
			t.Fatalf("message %d was given out although it was taken back", number)
		}
		if len(got) == 20 {
			break
		}
	}
	for i, number := range got {
		equal(t, number, i, "number in its order")
	}
}

func TestDeadLetters(t *testing.T) {
	client := connect(t, shared.Address)
	topic := makeTopic(t, client, &sluicev1.Topic{})
	makeSubscription(t, client, &sluicev1.Subscription{
		Topic: topic, DeadLetter: &sluicev1.DeadLetterPolicy{MaxAttempts: 2},
		Retry: &sluicev1.RetryPolicy{MinBackoff: durationpb.New(time.Millisecond)},
	})
	publish(t, client, topic, numbered(3, 0)...)
	last := make(chan uint32, 1)
	consumer := newConsumer(t, client, ConsumerConfig{Topic: topic})
	stop := runConsumer(t, consumer, func(_ context.Context, d *Delivery) error {
		switch numberOf(t, d) {
		case 0:
			d.DeadLetter("hopeless")
		case 1:
			return errors.New("again and again")
		case 2:
			last <- d.Attempt()
		}
		return nil
	})
	await(t, "the last is handled", last)
	stop()
	reasons := map[string]string{}
	for _, letter := range readLog(t, client, topic+".sub.dead-letter") {
		reasons[string(letter.GetPayload())] = letter.GetHeaders()["sluice-dead-letter-reason"]
	}
	equal(t, len(reasons), 2, "dead letters")
	equal(t, reasons["0"], "hopeless", "reason of the first")
	if reasons["1"] == "" {
		t.Fatalf("the second is not there: %v", reasons)
	}
	equal(t, backlog(t, client, topic), 0, "backlog")
}

// leaseOfBusyMachine is short enough to wait for its end, and so long that a machine with busy cores extends it in time.
const leaseOfBusyMachine = 4 * time.Second

// Two consumers have the same message with a short lease: when that of the one that does not extend it has ended, that of
// the other is still good.
func TestLeasesAreExtendedWhileAHandlerRuns(t *testing.T) {
	client := connect(t, shared.Address)
	topic := makeTopic(t, client, &sluicev1.Topic{})
	for _, name := range []string{"sub", "control"} {
		makeSubscription(t, client, &sluicev1.Subscription{
			Topic: topic, Name: name, AckDeadline: durationpb.New(leaseOfBusyMachine),
			Retry: &sluicev1.RetryPolicy{MinBackoff: durationpb.New(time.Millisecond)},
		})
	}
	publish(t, client, topic, numbered(2, 0)...)
	passed := make(chan struct{})
	acks := make(chan Settlement, 2)
	consumer := newConsumer(t, client, ConsumerConfig{Topic: topic})
	stop := runConsumer(t, consumer, func(ctx context.Context, d *Delivery) error {
		equal(t, d.Attempt(), 1, "attempt")
		await(t, "the lease of the other has ended", passed)
		check(t, ctx.Err())
		acks <- d.Ack()
		return nil
	})
	control := newConsumer(t, client, ConsumerConfig{Topic: topic, Subscription: "control", KeepLeases: true})
	d := receive(t, control)
	await(t, "the lease is over", d.Revoked())
	equal(t, settled(t, d.Ack()), false, "an ack after the lease")
	close(passed)
	for range 2 {
		// The second waited in the queue all the time.
		equal(t, settled(t, await(t, "an ack", acks)), true, "settled")
	}
	stop()
}

func TestAHandlerIsToldWhenItsMessageIsTakenBack(t *testing.T) {
	client := connect(t, shared.Address)
	topic := makeTopic(t, client, &sluicev1.Topic{})
	makeSubscription(t, client, &sluicev1.Subscription{
		Topic: topic, AckDeadline: durationpb.New(time.Minute),
		Retry: &sluicev1.RetryPolicy{MinBackoff: durationpb.New(time.Millisecond)},
	})
	publish(t, client, topic, numbered(2, 0)...)
	began := make(chan struct{}, 1)
	stale := make(chan Settlement, 1)
	all := make(chan struct{})
	consumer := newConsumer(t, client, ConsumerConfig{Topic: topic, KeepLeases: true})
	stop := runConsumer(t, consumer, func(ctx context.Context, d *Delivery) error {
		switch {
		case numberOf(t, d) == 0 && d.Attempt() == 1:
			began <- struct{}{}
			await(t, "the lease is over", ctx.Done())
			equal(t, context.Cause(ctx), ErrRevoked, "cause")
			await(t, "the same, told otherwise", d.Revoked())
			stale <- d.Ack()
		case numberOf(t, d) == 1:
			close(all)
		}
		// The next message has a context that is good.
		if numberOf(t, d) == 1 || d.Attempt() > 1 {
			check(t, ctx.Err())
		}
		return nil
	})
	await(t, "a handler", began)
	endLease(t, client, topic, 0)
	equal(t, settled(t, await(t, "the late ack", stale)), false, "settled")
	await(t, "the second", all)
	stop()
	equal(t, backlog(t, client, topic), 0, "backlog")
}

func TestExtendByHand(t *testing.T) {
	client := connect(t, shared.Address)
	topic := makeTopic(t, client, &sluicev1.Topic{})
	publish(t, client, topic, &Message{})
	consumer := newConsumer(t, client, ConsumerConfig{Topic: topic, KeepLeases: true})
	d := receive(t, consumer)
	equal(t, settled(t, d.Extend(time.Hour)), true, "extended")
	equal(t, settled(t, d.Extend(time.Millisecond)), true, "ended soon")
	await(t, "the lease is over", d.Revoked())
	equal(t, settled(t, d.Extend(time.Hour)), false, "extended afterwards")
}

// Many messages fail, at random, of many keys and several partitions: each lane is still handled in order.
func TestOrderSurvivesManyFailures(t *testing.T) {
	const count = 2000
	for _, ordering := range []sluicev1.Ordering{byPartition, byKey} {
		t.Run(ordering.String(), func(t *testing.T) {
			client := connect(t, shared.Address)
			topic := makeTopic(t, client, &sluicev1.Topic{PartitionCount: 4})
			makeSubscription(t, client, &sluicev1.Subscription{
				Topic: topic, Ordering: ordering, Retry: &sluicev1.RetryPolicy{MinBackoff: durationpb.New(time.Millisecond)},
				DeadLetter: &sluicev1.DeadLetterPolicy{Disabled: true},
			})
			publish(t, client, topic, numbered(count, 37)...)
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			chance := rand.New(rand.NewPCG(seed, 0))
			var mu sync.Mutex
			last := map[string]int{}
			isHandled := make([]bool, count)
			handled, failures := 0, 0
			all := make(chan struct{})
			consumer := newConsumer(t, client, ConsumerConfig{Topic: topic, Concurrency: 6})
			stop := runConsumer(t, consumer, func(_ context.Context, d *Delivery) error {
				mu.Lock()
				defer mu.Unlock()
				number := numberOf(t, d)
				if isHandled[number] {
					t.Errorf("message %d was handled well, and comes again", number)
				}
				if chance.IntN(20) == 0 {
					failures++
					return errors.New("by chance")
				}
				if before, ok := last[string(d.Key)]; ok && number < before {
					t.Errorf("message %d of %s after %d", number, d.Key, before)
				}
				last[string(d.Key)] = number
				isHandled[number] = true
				if handled++; handled == count {
					close(all)
				}
				return nil
			})
			await(t, "all are handled", all)
			stop()
			t.Logf("%d failures", failures)
			equal(t, backlog(t, client, topic), 0, "backlog")
		})
	}
}

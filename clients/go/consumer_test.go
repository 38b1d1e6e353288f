package sluice

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
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
			publish(t, client, topic, numbered(900, 23)...)
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

// Two consumers have the same message with a short lease: when that of the one that does not extend it has ended three
// times, that of the other is still good.
func TestLeasesAreExtendedWhileAHandlerRuns(t *testing.T) {
	client := connect(t, shared.Address)
	topic := makeTopic(t, client, &sluicev1.Topic{})
	for _, name := range []string{"sub", "control"} {
		makeSubscription(t, client, &sluicev1.Subscription{
			Topic: topic, Name: name, AckDeadline: durationpb.New(200 * time.Millisecond),
			Retry: &sluicev1.RetryPolicy{MinBackoff: durationpb.New(time.Millisecond)},
		})
	}
	publish(t, client, topic, numbered(2, 0)...)
	passed := make(chan struct{})
	acks := make(chan Settlement, 2)
	consumer := newConsumer(t, client, ConsumerConfig{Topic: topic})
	stop := runConsumer(t, consumer, func(ctx context.Context, d *Delivery) error {
		equal(t, d.Attempt(), 1, "attempt")
		await(t, "the leases of the other have ended", passed)
		check(t, ctx.Err())
		acks <- d.Ack()
		return nil
	})
	control := newConsumer(t, client, ConsumerConfig{Topic: topic, Subscription: "control", KeepLeases: true})
	for attempt := uint32(1); attempt <= 4; attempt++ {
		d := receive(t, control)
		for ; d.Attempt() != attempt; d = receive(t, control) {
			// The second message, which was not in hand when the lease of the first ended.
		}
		if attempt < 4 {
			await(t, "the lease is over", d.Revoked())
			equal(t, settled(t, d.Ack()), false, "an ack after the lease")
		}
	}
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
		Topic: topic, AckDeadline: durationpb.New(100 * time.Millisecond),
		Retry: &sluicev1.RetryPolicy{MinBackoff: durationpb.New(time.Millisecond)},
	})
	publish(t, client, topic, numbered(2, 0)...)
	stale := make(chan Settlement, 1)
	all := make(chan struct{})
	consumer := newConsumer(t, client, ConsumerConfig{Topic: topic, KeepLeases: true})
	stop := runConsumer(t, consumer, func(ctx context.Context, d *Delivery) error {
		switch {
		case numberOf(t, d) == 0 && d.Attempt() == 1:
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
		return consumer.isClosing
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

func TestWhereASubscriptionBegins(t *testing.T) {
	client := connect(t, shared.Address)
	topic := makeTopic(t, client, &sluicev1.Topic{})
	publish(t, client, topic, numbered(5, 0)...)
	starts := map[string]*sluicev1.StartPosition{
		"0": Earliest(), "3": AtOffset(3), "5": Latest(), "0 again": AtTime(time.Unix(0, 0)),
	}
	consumers := map[string]*Consumer{}
	for name, start := range starts {
		consumers[name] = newConsumer(t, client, ConsumerConfig{Topic: topic, Subscription: name[:1] + name[max(1, len(name)-5):], Start: start})
		consumer := consumers[name]
		first := make(chan *Delivery, 1)
		go func() {
			if d, err := consumer.Receive(t.Context()); err == nil {
				first <- d
			}
		}()
		if name == "5" {
			awaitThat(t, "the session is open", func() bool {
				consumer.mu.Lock()
				defer consumer.mu.Unlock()
				return consumer.session != nil && consumer.session.isOpen
			})
			publish(t, client, topic, numbered(6, 0)[5])
		}
		equal(t, fmt.Sprint(await(t, "a message", first).Offset()), name[:1], "offset of the first message")
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
	client := connect(t, shared.Address)
	topic := makeTopic(t, client, &sluicev1.Topic{})
	publish(t, client, topic, numbered(50_000, 0)...)
	slow := newConsumer(t, client, ConsumerConfig{Topic: topic, ConsumerID: "slow"})
	stop := runConsumer(t, slow, func(ctx context.Context, d *Delivery) error {
		sleep(ctx, 50*time.Millisecond)
		return nil
	})
	awaitThat(t, "little is granted to who is slow", func() bool {
		granted := grantedMessages(t, client, topic)
		return granted >= leastCredit && granted <= 40
	})
	stop()
	fast := newConsumer(t, client, ConsumerConfig{Topic: topic})
	full := make(chan struct{})
	stop = runConsumer(t, fast, func(context.Context, *Delivery) error {
		// Some 50,000 a second: fast enough for all of it, and there is something to measure.
		for begun := time.Now(); time.Since(begun) < 20*time.Microsecond; {
		}
		select {
		case <-full:
		default:
			fast.mu.Lock()
			if fast.credit.credit == 10_000 && fast.session.granted == 10_000 {
				close(full)
			}
			fast.mu.Unlock()
		}
		return nil
	})
	await(t, "all is granted to who is fast", full)
	stop()
}

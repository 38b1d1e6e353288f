package sluice

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/sluice-mq/sluice/clients/go/sluicev1"
)

func TestReceiptsSayWhereMessagesAre(t *testing.T) {
	ctx := testContext(t)
	client := connect(t, shared.Address)
	topic := makeTopic(t, client, &sluicev1.Topic{PartitionCount: 4})
	producer := openProducer(t, client, ProducerConfig{Topic: topic, BatchMaxMessages: 50})

	results := make([]*Result, 1000)
	for i := range results {
		message := &Message{Payload: fmt.Append(nil, i)}
		if i%7 != 0 {
			message.Key = fmt.Appendf(nil, "key-%d", i%23)
		}
		results[i] = producer.Send(ctx, message)
	}
	stored := readLogAfter(t, client, topic, producer)
	equal(t, len(stored), len(results), "messages in the log")
	for i, result := range results {
		receipt, err := result.Get(ctx)
		check(t, err)
		if !receipt.HasPlace || receipt.Duplicate {
			t.Fatalf("message %d has no place: %+v", i, receipt)
		}
		equal(t, receipt.Durability, sluicev1.Durability_DURABILITY_SYNCED, "durability")
		message := stored[place{receipt.Partition, receipt.Offset}]
		equal(t, string(message.GetPayload()), fmt.Sprint(i), fmt.Sprintf("what is at the place of message %d", i))
	}
}

func TestPlacesAreRightWhenATopicHasGrown(t *testing.T) {
	ctx := testContext(t)
	client := connect(t, shared.Address)
	topic := makeTopic(t, client, &sluicev1.Topic{PartitionCount: 2})
	producer := openProducer(t, client, ProducerConfig{Topic: topic})
	_, err := client.Admin.UpdateTopic(ctx, &sluicev1.UpdateTopicRequest{
		Topic:      &sluicev1.Topic{Name: topic, PartitionCount: 8},
		UpdateMask: fieldMask("partition_count"),
	})
	check(t, err)
	results := make([]*Result, 100)
	for i := range results {
		results[i] = producer.Send(ctx, &Message{Key: fmt.Append(nil, i), Payload: fmt.Append(nil, i)})
	}
	stored := readLogAfter(t, client, topic, producer)
	for i, result := range results {
		receipt, err := result.Get(ctx)
		check(t, err)
		at := place{receipt.Partition, receipt.Offset}
		equal(t, string(stored[at].GetPayload()), fmt.Sprint(i), "what is at the place")
	}
}

func TestOnePartitionByChoice(t *testing.T) {
	ctx := testContext(t)
	client := connect(t, shared.Address)
	topic := makeTopic(t, client, &sluicev1.Topic{PartitionCount: 4})
	for _, number := range []uint32{0, 3} {
		producer := openProducer(t, client, ProducerConfig{Topic: topic, Partition: Partition(number)})
		for i := range 5 {
			receipt, err := producer.Publish(ctx, &Message{Key: fmt.Append(nil, i)})
			check(t, err)
			equal(t, receipt.Partition, number, "partition")
			equal(t, receipt.Offset, uint64(i), "offset")
		}
	}
}

func TestARefusedBatchFailsAlone(t *testing.T) {
	ctx := testContext(t)
	client := connect(t, shared.Address)
	topic := makeTopic(t, client, &sluicev1.Topic{PartitionCount: 1})
	producer := openProducer(t, client, ProducerConfig{Topic: topic, BatchMaxMessages: 2})
	results := make([]*Result, 40)
	for i := range results {
		message := &Message{Payload: fmt.Append(nil, i)}
		if i == 11 || i == 30 {
			message.Headers = map[string]string{"sluice-mine": "no"}
		}
		results[i] = producer.Send(ctx, message)
	}
	offset := uint64(0)
	for i, result := range results {
		receipt, err := result.Get(ctx)
		if i/2 == 11/2 || i/2 == 30/2 {
			equal(t, ReasonOf(err), ReasonReservedHeader, fmt.Sprintf("reason of message %d", i))
			continue
		}
		check(t, err)
		equal(t, receipt.Offset, offset, fmt.Sprintf("offset of message %d", i))
		offset++
	}
	equal(t, len(readLog(t, client, topic)), 36, "messages in the log")
}

func TestWhatCanNotBeEncodedFailsAlone(t *testing.T) {
	ctx := testContext(t)
	client := connect(t, shared.Address)
	topic := makeTopic(t, client, &sluicev1.Topic{})
	producer := openProducer(t, client, ProducerConfig{Topic: topic})
	good := producer.Send(ctx, &Message{Payload: []byte("good")})
	_, err := producer.Publish(ctx, &Message{Headers: map[string]string{"bad": "\xff"}})
	equal(t, ReasonOf(err), ReasonInvalidField, "reason")
	_, err = good.Get(ctx)
	check(t, err)
}

func TestAMessageThatIsTooLargeFailsAlone(t *testing.T) {
	ctx := testContext(t)
	client := connect(t, shared.Address)
	topic := makeTopic(t, client, &sluicev1.Topic{})
	producer := openProducer(t, client, ProducerConfig{Topic: topic})
	// Above the limit of a message, of a request, and of what the broker reads at all.
	for size, want := range map[int]Reason{
		2 << 20: ReasonMessageTooLarge, 4<<20 + 1: ReasonRequestTooLarge, 6 << 20: ReasonRequestTooLarge,
	} {
		large := producer.Send(ctx, &Message{Payload: make([]byte, size)})
		small := producer.Send(ctx, &Message{})
		_, err := large.Get(ctx)
		equal(t, ReasonOf(err), want, "reason")
		_, err = small.Get(ctx)
		check(t, err)
	}
}

func TestANameResumesAndFences(t *testing.T) {
	ctx := testContext(t)
	client := connect(t, shared.Address)
	topic := makeTopic(t, client, &sluicev1.Topic{})
	config := ProducerConfig{Topic: topic, ProducerID: "importer"}
	first := openProducer(t, client, config)
	equal(t, first.LastSequence(), 0, "last sequence of a new producer")
	for range 3 {
		_, err := first.Publish(ctx, &Message{})
		check(t, err)
	}
	second := openProducer(t, client, config)
	equal(t, second.LastSequence(), 3, "last sequence")
	_, err := second.Publish(ctx, &Message{})
	check(t, err)
	_, err = first.Publish(ctx, &Message{})
	equal(t, ReasonOf(err), ReasonProducerFenced, "the first after the second")
	_, err = first.Publish(ctx, &Message{})
	equal(t, ReasonOf(err), ReasonProducerFenced, "and from then on")
	equal(t, len(readLog(t, client, topic)), 4, "messages in the log")
}

func TestWhatAnotherOfTheNameStoredMeanwhileIsNotTakenForItsOwn(t *testing.T) {
	ctx := testContext(t)
	broker := ownBroker(t)
	client := connect(t, broker.Address)
	topic := makeTopic(t, client, &sluicev1.Topic{})
	config := ProducerConfig{Topic: topic, ProducerID: "importer"}
	first := openProducer(t, client, config)
	_, err := first.Publish(ctx, &Message{})
	check(t, err)
	second := openProducer(t, client, config)
	for range 2 {
		_, err := second.Publish(ctx, &Message{})
		check(t, err)
	}
	broker.Kill()
	late := first.Send(ctx, &Message{})
	check(t, broker.Restart())
	_, err = late.Get(ctx)
	equal(t, ReasonOf(err), ReasonProducerFenced, "what the first had not sent")
	equal(t, len(readLog(t, client, topic)), 3, "messages in the log")
}

func TestADeletedTopicEndsTheProducer(t *testing.T) {
	ctx := testContext(t)
	client := connect(t, shared.Address)
	topic := makeTopic(t, client, &sluicev1.Topic{})
	producer := openProducer(t, client, ProducerConfig{Topic: topic})
	_, err := producer.Publish(ctx, &Message{})
	check(t, err)
	_, err = client.Admin.DeleteTopic(ctx, &sluicev1.DeleteTopicRequest{Name: topic})
	check(t, err)
	for range 2 {
		_, err = producer.Publish(ctx, &Message{})
		equal(t, ReasonOf(err), ReasonTopicDeleted, "reason")
	}
}

// blockedTopic takes two messages, and no more before one is settled.
func blockedTopic(t *testing.T, client *Client, whenFull sluicev1.BacklogLimit_WhenFull) string {
	topic := makeTopic(t, client, &sluicev1.Topic{
		BacklogLimit: &sluicev1.BacklogLimit{MaxMessages: 2, WhenFull: whenFull},
	})
	_, err := client.Admin.CreateSubscription(testContext(t), &sluicev1.CreateSubscriptionRequest{
		Subscription: &sluicev1.Subscription{Topic: topic, Name: "slow"},
	})
	check(t, err)
	return topic
}

func unblock(t *testing.T, client *Client, topic string) {
	t.Helper()
	_, err := client.Admin.DeleteSubscription(testContext(t), &sluicev1.DeleteSubscriptionRequest{Topic: topic, Name: "slow"})
	check(t, err)
}

func TestAFullBufferFails(t *testing.T) {
	ctx := testContext(t)
	client := connect(t, shared.Address)
	topic := blockedTopic(t, client, sluicev1.BacklogLimit_WHEN_FULL_BLOCK)
	producer := openProducer(t, client, ProducerConfig{
		Topic: topic, BatchMaxMessages: 1, BufferMaxBytes: 1000, WhenFull: WhenFullFail,
	})
	var taken []*Result
	for {
		result := producer.Send(ctx, &Message{Payload: make([]byte, 100)})
		if isDone(result) {
			if _, err := result.Get(ctx); err != nil {
				equal(t, ReasonOf(err), ReasonBufferFull, "reason")
				break
			}
		}
		taken = append(taken, result)
	}
	if len(taken) < 10 {
		t.Fatalf("only %d messages were taken into 1,000 bytes", len(taken))
	}
	unblock(t, client, topic)
	for _, result := range taken {
		_, err := result.Get(ctx)
		check(t, err)
	}
	_, err := producer.Publish(ctx, &Message{})
	check(t, err)
}

func TestAFullBufferWaits(t *testing.T) {
	ctx := testContext(t)
	client := connect(t, shared.Address)
	topic := blockedTopic(t, client, sluicev1.BacklogLimit_WHEN_FULL_BLOCK)
	producer := openProducer(t, client, ProducerConfig{Topic: topic, BatchMaxMessages: 1, BufferMaxBytes: 1000})
	results := make(chan *Result, 100)
	go func() {
		defer close(results)
		for range cap(results) {
			results <- producer.Send(ctx, &Message{Payload: make([]byte, 100)})
		}
	}()
	// Two of them are stored; what then fits into the buffer is taken, and the next has to wait.
	for range 2 {
		_, err := (<-results).Get(ctx)
		check(t, err)
	}
	awaitThat(t, "a sender stands in line", func() bool {
		producer.mu.Lock()
		defer producer.mu.Unlock()
		return len(producer.room.line) == 1
	})
	impatient, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	_, err := producer.Publish(impatient, &Message{})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("the impatient sender got %v", err)
	}
	unblock(t, client, topic)
	for result := range results {
		_, err := result.Get(ctx)
		check(t, err)
	}
	equal(t, len(readLog(t, client, topic)), 100, "messages in the log")
}

func TestABatchIsTriedForItsTime(t *testing.T) {
	for _, whenFull := range []sluicev1.BacklogLimit_WhenFull{
		sluicev1.BacklogLimit_WHEN_FULL_REJECT, sluicev1.BacklogLimit_WHEN_FULL_BLOCK,
	} {
		t.Run(whenFull.String(), func(t *testing.T) {
			ctx := testContext(t)
			client := connect(t, shared.Address)
			topic := blockedTopic(t, client, whenFull)
			producer := openProducer(t, client, ProducerConfig{
				Topic: topic, BatchMaxMessages: 1, RetryTimeout: 2 * time.Second,
			})
			for range 2 {
				_, err := producer.Publish(ctx, &Message{})
				check(t, err)
			}
			began := time.Now()
			_, err := producer.Publish(ctx, &Message{Payload: []byte("late")})
			equal(t, toError(err).Code, codes.DeadlineExceeded, "code")
			if took := time.Since(began); took < 2*time.Second {
				t.Fatalf("given up after %v", took)
			}
			unblock(t, client, topic)
			_, err = producer.Publish(ctx, &Message{Payload: []byte("in time")})
			check(t, err)
			equal(t, producer.LastSequence(), 3, "what was given up leaves no gap: last sequence")
		})
	}
}

func TestCloseFlushesAndTakesNoMore(t *testing.T) {
	ctx := testContext(t)
	client := connect(t, shared.Address)
	topic := makeTopic(t, client, &sluicev1.Topic{})
	producer := openProducer(t, client, ProducerConfig{Topic: topic, Linger: time.Hour})
	result := producer.Send(ctx, &Message{})
	check(t, producer.Close(ctx))
	if !isDone(result) {
		t.Fatal("closed, and a message has no answer")
	}
	_, err := result.Get(ctx)
	check(t, err)
	_, err = producer.Publish(ctx, &Message{})
	equal(t, ReasonOf(err), ReasonClosed, "reason of a message behind close")
	check(t, producer.Close(ctx))
}

func TestLingerAndFlush(t *testing.T) {
	ctx := testContext(t)
	client := connect(t, shared.Address)
	topic := makeTopic(t, client, &sluicev1.Topic{})
	patient := openProducer(t, client, ProducerConfig{Topic: topic, Linger: time.Hour})
	result := patient.Send(ctx, &Message{})
	equal(t, patient.LastSequence(), 0, "a batch that is still open is not numbered: last sequence")
	check(t, patient.Flush(ctx))
	equal(t, isDone(result), true, "done after flush")
	for _, linger := range []time.Duration{NoLinger, time.Millisecond} {
		producer := openProducer(t, client, ProducerConfig{Topic: topic, Linger: linger})
		_, err := producer.Publish(ctx, &Message{})
		check(t, err)
	}
}

func TestGetEndsWithItsContext(t *testing.T) {
	ctx := testContext(t)
	client := connect(t, shared.Address)
	topic := makeTopic(t, client, &sluicev1.Topic{})
	producer := openProducer(t, client, ProducerConfig{Topic: topic, Linger: time.Hour})
	result := producer.Send(ctx, &Message{})
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	_, err := result.Get(canceled)
	equal(t, errors.Is(err, context.Canceled), true, "canceled")
	check(t, producer.Flush(ctx))
	_, err = result.Get(ctx)
	check(t, err)
}

func TestOpeningFailsWithoutABroker(t *testing.T) {
	client := connect(t, "127.0.0.1:1")
	_, err := client.OpenProducer(testContext(t), ProducerConfig{Topic: "nowhere", RetryTimeout: 2 * time.Second})
	equal(t, toError(err).Code, codes.Unavailable, "code")
	_, err = client.OpenProducer(testContext(t), ProducerConfig{})
	equal(t, ReasonOf(err), ReasonInvalidField, "reason without a topic")
	_, err = client.OpenProducer(testContext(t), ProducerConfig{Topic: "t", MaxInFlight: -1})
	equal(t, ReasonOf(err), ReasonInvalidField, "reason of a negative setting")
}

func isDone(result *Result) bool {
	select {
	case <-result.Done():
		return true
	default:
		return false
	}
}

func readLogAfter(t *testing.T, client *Client, topic string, producer *Producer) map[place]*sluicev1.Message {
	t.Helper()
	check(t, producer.Flush(testContext(t)))
	return readLog(t, client, topic)
}

// awaitThat polls what has no event of its own.
func awaitThat(t *testing.T, what string, isTrue func() bool) {
	t.Helper()
	for began := time.Now(); !isTrue(); time.Sleep(time.Millisecond) {
		if time.Since(began) > testLimit {
			t.Fatalf("in vain: %s", what)
		}
	}
}

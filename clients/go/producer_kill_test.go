package sluice

import (
	"context"
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/sluice-mq/sluice/clients/go/sluicev1"
)

// Under load, the broker is killed with -9 again and again: nothing is lost, and nothing is twice in the log.
func TestAProducerSurvivesKills(t *testing.T) {
	// Three starts of a broker on a busy machine.
	ctx, cancel := context.WithTimeout(t.Context(), 6*testLimit)
	defer cancel()
	broker := ownBroker(t)
	client := connect(t, broker.Address)
	topic := makeTopic(t, client, &sluicev1.Topic{PartitionCount: 4})
	producer := openProducer(t, client, ProducerConfig{Topic: topic, BatchMaxMessages: 100})

	const kills = 3
	stop := make(chan struct{})
	killed := make(chan error, 1)
	progress := make(chan struct{}, 1000)
	go func() {
		defer close(stop)
		for range kills {
			// Not before the last start has seen messages stored.
			for range 50 {
				<-progress
			}
			if err := broker.Restart(); err != nil {
				killed <- err
				return
			}
		}
		killed <- nil
	}()
	var results []*Result
	for isStopped := false; !isStopped; {
		i := len(results)
		results = append(results, producer.Send(ctx, &Message{Key: fmt.Appendf(nil, "key-%d", i%17), Payload: fmt.Append(nil, i)}))
		if i%100 == 99 {
			if _, err := results[max(0, i-1000)].Get(ctx); err != nil {
				t.Fatal(err)
			}
			select {
			case progress <- struct{}{}:
			default:
			}
		}
		select {
		case <-stop:
			isStopped = true
		default:
		}
	}
	check(t, <-killed)
	check(t, producer.Flush(ctx))

	stored := readLog(t, client, topic)
	equal(t, len(stored), len(results), "messages in the log")
	seen := make([]bool, len(results))
	for at, message := range stored {
		var i int
		if _, err := fmt.Sscan(string(message.GetPayload()), &i); err != nil || i >= len(seen) || seen[i] {
			t.Fatalf("%q at %+v: twice, or never sent (%v)", message.GetPayload(), at, err)
		}
		seen[i] = true
	}
	last := map[string]uint64{}
	for i, result := range results {
		receipt, err := result.Get(ctx)
		check(t, err)
		if receipt.Duplicate {
			continue
		}
		message := stored[place{receipt.Partition, receipt.Offset}]
		equal(t, string(message.GetPayload()), fmt.Sprint(i), "what is at the place of a message")
		key := string(message.GetKey())
		if offset, ok := last[key]; ok && receipt.Offset <= offset {
			t.Fatalf("message %d of %s is out of order", i, key)
		}
		last[key] = receipt.Offset
	}
	t.Logf("%d messages through %d kills", len(results), kills)
}

// Closing while the broker is away ends when its context does, and says so.
func TestCloseWithoutABrokerEndsWithItsContext(t *testing.T) {
	broker := ownBroker(t)
	client := connect(t, broker.Address)
	topic := makeTopic(t, client, &sluicev1.Topic{})
	producer := openProducer(t, client, ProducerConfig{Topic: topic})
	idle := openProducer(t, client, ProducerConfig{Topic: topic})
	broker.Kill()
	result := producer.Send(t.Context(), &Message{})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	equal(t, producer.Close(ctx), context.DeadlineExceeded, "close")
	_, err := result.Get(t.Context())
	equal(t, ReasonOf(err), ReasonClosed, "reason of what had no receipt")
	check(t, idle.Close(testContext(t)))
}

func fieldMask(paths ...string) *fieldmaskpb.FieldMask { return &fieldmaskpb.FieldMask{Paths: paths} }

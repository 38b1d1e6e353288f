package sluice

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluice-mq/sluice/clients/go/sluicev1"
)

// Two processes of one name that open at once: one is fenced, and a receipt always stands for a message that is stored.
func TestTwoThatOpenOneNameAtOnceDoNotShareAnEpoch(t *testing.T) {
	ctx := testContext(t)
	topic := makeTopic(t, connect(t, shared.Address), &sluicev1.Topic{})
	var replicas [2]*Producer
	var opening sync.WaitGroup
	for i := range replicas {
		client := connect(t, shared.Address)
		spawn(&opening, func() {
			producer, err := client.OpenProducer(ctx, ProducerConfig{Topic: topic, ProducerID: "web"})
			if err == nil {
				replicas[i] = producer
			}
		})
	}
	opening.Wait()
	if replicas[0] == nil || replicas[1] == nil {
		t.Fatal("one of them could not open")
	}
	if replicas[0].epoch == replicas[1].epoch {
		t.Fatalf("both have epoch %d", replicas[0].epoch)
	}
	receipts, refused := 0, 0
	for i := range 200 {
		receipt, err := replicas[i%2].Publish(ctx, &Message{Payload: fmt.Append(nil, i)})
		switch {
		case err == nil:
			receipts++
			equal(t, receipt.Duplicate, false, "a duplicate of what was sent once")
		default:
			refused++
			equal(t, ReasonOf(err), ReasonProducerFenced, "reason")
		}
	}
	equal(t, refused, 100, "refused: all of the one that opened first")
	equal(t, len(readLog(t, connect(t, shared.Address), topic)), receipts, "messages in the log")
}

// The old process sends before, while, and after another one takes over.
func TestWhoOpensANameFencesWhoStillSends(t *testing.T) {
	ctx := testContext(t)
	client := connect(t, shared.Address)
	topic := makeTopic(t, client, &sluicev1.Topic{})
	config := ProducerConfig{Topic: topic, ProducerID: "web"}
	older := openProducer(t, client, config)
	send := func(producer *Producer, payload string) Reason {
		_, err := producer.Publish(ctx, &Message{Payload: []byte(payload)})
		return ReasonOf(err)
	}
	equal(t, send(older, "A"), "", "A of the older")
	newer := openProducer(t, connect(t, shared.Address), config)
	equal(t, newer.LastSequence(), 1, "where the newer goes on")
	for _, payload := range []string{"B", "C"} {
		equal(t, send(older, payload), ReasonProducerFenced, payload+" of the older")
	}
	for _, payload := range []string{"D", "E", "F"} {
		equal(t, send(newer, payload), "", payload+" of the newer")
	}
	equal(t, send(older, "G"), ReasonProducerFenced, "G of the older")
	stored := readLog(t, client, topic)
	for i, payload := range []string{"A", "D", "E", "F"} {
		equal(t, string(stored[place{0, uint64(i)}].GetPayload()), payload, "what is stored")
	}
	equal(t, len(stored), 4, "messages in the log")
}

// A claim is durable: the broker is killed between it and the first message.
func TestAClaimSurvivesAKill(t *testing.T) {
	ctx := testContext(t)
	broker := ownBroker(t)
	client := connect(t, broker.Address)
	topic := makeTopic(t, client, &sluicev1.Topic{})
	config := ProducerConfig{Topic: topic, ProducerID: "web"}
	older := openProducer(t, client, config)
	_, err := older.Publish(ctx, &Message{Payload: []byte("of the older")})
	check(t, err)
	newer := openProducer(t, connect(t, broker.Address), config)
	check(t, broker.Restart())
	late := older.Send(ctx, &Message{Payload: []byte("late")})
	receipt, err := newer.Publish(ctx, &Message{Payload: []byte("of the newer")})
	check(t, err)
	equal(t, receipt.Duplicate, false, "duplicate")
	_, err = late.Get(ctx)
	equal(t, ReasonOf(err), ReasonProducerFenced, "reason of the older")
	stored := readLog(t, client, topic)
	equal(t, len(stored), 2, "messages in the log")
	equal(t, string(stored[place{0, 1}].GetPayload()), "of the newer", "the second message")
}

// opener is a broker that answers OpenProducer as it is told.
type opener struct {
	shortSighted
	answers []error
	claims  []uint64
}

func (o *opener) OpenProducer(
	ctx context.Context, request *sluicev1.OpenProducerRequest,
) (*sluicev1.OpenProducerResponse, error) {
	o.mu.Lock()
	o.claims = append(o.claims, request.GetClaimId())
	var err error
	if len(o.answers) > 0 {
		err, o.answers = o.answers[0], o.answers[1:]
	}
	o.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return o.shortSighted.OpenProducer(ctx, request)
}

func TestARepeatedOpeningRepeatsItsClaim(t *testing.T) {
	o := &opener{answers: []error{
		status.Error(codes.ResourceExhausted, "too many requests"), status.Error(codes.Unavailable, "the answer is lost"),
		status.Error(codes.ResourceExhausted, "too many requests"),
	}}
	client := connect(t, serveFake(t, o, 4<<20))
	producer := openProducer(t, client, ProducerConfig{Topic: "t", RetryMinBackoff: time.Millisecond})
	_, err := producer.Publish(testContext(t), &Message{})
	check(t, err)
	equal(t, len(o.claims), 4, "calls")
	for _, claim := range o.claims {
		equal(t, claim, o.claims[0], "claim_id")
	}
	if o.claims[0] == 0 || o.claims[0] >= 1<<53 {
		t.Fatalf("claim_id %d", o.claims[0])
	}
}

func TestABrokerWithoutOpenProducerIsNamed(t *testing.T) {
	_, address := startGuard(t)
	_, err := connect(t, address).OpenProducer(testContext(t), ProducerConfig{Topic: "t"})
	equal(t, toError(err).Code, codes.Unimplemented, "code")
	if !strings.Contains(err.Error(), "too old") {
		t.Fatalf("what is wrong is not said: %v", err)
	}
}

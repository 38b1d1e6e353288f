package sluice

import (
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluice-mq/sluice/clients/go/sluicev1"
)

type publishServer = grpc.BidiStreamingServer[sluicev1.PublishStreamRequest, sluicev1.PublishStreamResponse]

// slowBroker answers once it is told to.
type slowBroker struct {
	shortSighted
	requests chan int
	goOn     chan struct{}
}

func (s *slowBroker) PublishStream(stream publishServer) error {
	var answers []*sluicev1.PublishStreamResponse
	var mu sync.Mutex
	go func() {
		<-s.goOn
		mu.Lock()
		defer mu.Unlock()
		for _, answer := range answers {
			_ = stream.Send(answer) // The client is there until the end of the test.
		}
		answers = nil
	}()
	for {
		request, err := stream.Recv()
		if err != nil {
			return nil
		}
		mu.Lock()
		answer := s.store(request)
		select {
		case <-s.goOn:
			_ = stream.Send(answer) // As above.
		default:
			answers = append(answers, answer)
		}
		mu.Unlock()
		s.requests <- len(request.GetMessages())
	}
}

// While as many batches are under way as may be, what comes is gathered, whatever the linger.
func TestBatchesThatWaitAreMerged(t *testing.T) {
	for _, linger := range []time.Duration{NoLinger, time.Millisecond} {
		t.Run(linger.String(), func(t *testing.T) {
			ctx := testContext(t)
			s := &slowBroker{requests: make(chan int, 1000), goOn: make(chan struct{})}
			client := connect(t, serveFake(t, s, 4<<20))
			producer := openProducer(t, client, ProducerConfig{Topic: "t", Linger: linger, MaxInFlight: 2})
			for range 2 {
				producer.Send(ctx, &Message{})
				equal(t, await(t, "a request", s.requests), 1, "messages of a request while slots are free")
			}
			var results []*Result
			for i := range 2500 {
				results = append(results, producer.Send(ctx, &Message{Payload: fmt.Append(nil, i)}))
				if i%500 == 0 && linger > 0 {
					// Their linger is over, and they still wait. A timer that comes later weakens the check, and does not fail it.
					time.Sleep(3 * linger)
				}
			}
			close(s.goOn)
			for _, want := range []int{1000, 1000, 500} {
				equal(t, await(t, "a request", s.requests), want, "messages of a request")
			}
			for _, result := range results {
				_, err := result.Get(ctx)
				check(t, err)
			}
		})
	}
}

// rateLimited is behind a proxy that refuses some streams, with no reason of the broker's.
type rateLimited struct {
	shortSighted
	// readBeforeRefusal: so many requests are read of each stream that is refused.
	readBeforeRefusal []int
}

func (r *rateLimited) PublishStream(stream publishServer) error {
	r.mu.Lock()
	most := -1
	if len(r.readBeforeRefusal) > 0 {
		most, r.readBeforeRefusal = r.readBeforeRefusal[0], r.readBeforeRefusal[1:]
	}
	r.mu.Unlock()
	for read := 0; read != most; read++ {
		request, err := stream.Recv()
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if most >= 0 {
			continue
		}
		if err := stream.Send(r.store(request)); err != nil {
			return err
		}
	}
	return status.Error(codes.ResourceExhausted, "rate limit")
}

func TestARateLimitOfAProxyIsWaitedFor(t *testing.T) {
	ctx := testContext(t)
	r := &rateLimited{readBeforeRefusal: []int{0, 1, 1, 1}}
	client := connect(t, serveFake(t, r, 4<<20))
	producer := openProducer(t, client, ProducerConfig{Topic: "t", RetryMinBackoff: time.Millisecond, BatchMaxMessages: 1})
	_, err := producer.Publish(ctx, &Message{Payload: []byte("alone")})
	check(t, err)
	r.mu.Lock()
	r.readBeforeRefusal = []int{4, 1, 1, 1}
	r.mu.Unlock()
	var results []*Result
	for i := range 10 {
		results = append(results, producer.Send(ctx, &Message{Payload: fmt.Append(nil, i)}))
	}
	for _, result := range results {
		_, err := result.Get(ctx)
		check(t, err)
	}
	equal(t, fmt.Sprint(r.stored), "[alone 0 1 2 3 4 5 6 7 8 9]", "stored")
}

package main

import (
	"context"
	"encoding/binary"
	"slices"
	"sync/atomic"
	"time"

	sluice "github.com/sluice-mq/sluice/clients/go"
	"github.com/sluice-mq/sluice/clients/go/sluicev1"
)

// latencies is what bench latency prints.
type latencies struct {
	Messages int         `json:"messages"`
	Publish  percentiles `json:"publish"`
	Deliver  percentiles `json:"deliver"`
}

// benchLatency sends at a steady rate. A message's time runs from the moment when it was due.
func benchLatency(ctx context.Context, client *sluice.Client, o *options) (any, error) {
	warmup := int(o.rate * o.warmup)
	count := warmup + int(o.rate*o.seconds)
	l := &latencyRun{count: count, interval: time.Duration(float64(time.Second) / o.rate), all: make(chan struct{})}
	producer, err := openProducer(ctx, client, o.topic)
	if err != nil {
		return nil, err
	}
	consumer, err := client.NewConsumer(sluice.ConsumerConfig{
		Topic: o.topic, Subscription: o.subscription, Start: sluice.Latest(),
	})
	if err != nil {
		return nil, err
	}
	running, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := make(chan error, 1)
	go func() {
		err := consumer.Run(running, l.handle)
		cancel(err)
		ended <- err
	}()
	if err := awaitSession(running, client, o); err != nil {
		return nil, err
	}
	published, err := l.send(running, producer, o.payloadBytes)
	if err != nil {
		return nil, err
	}
	select {
	case <-l.all:
	case <-running.Done():
		return nil, context.Cause(running)
	}
	// Not by what ends with Run, for that is what Close brings about.
	if err := producer.Close(ctx); err != nil {
		return nil, err
	}
	if err := consumer.Close(ctx); err != nil {
		return nil, err
	}
	// They come in order, nearly.
	published, delivered := published[warmup:], l.delivered[warmup:]
	return &latencies{len(published), percentilesOf(published), percentilesOf(delivered)}, <-ended
}

// latencyRun is one run of bench latency.
type latencyRun struct {
	count    int
	interval time.Duration
	// began is when message 0 was due, in nanoseconds since 1970.
	began     atomic.Int64
	delivered []time.Duration
	all       chan struct{}
}

func (l *latencyRun) since(index int) time.Duration {
	return time.Since(time.Unix(0, l.began.Load()).Add(time.Duration(index) * l.interval))
}

// handle notes when a message came. Its payload begins with its index.
func (l *latencyRun) handle(_ context.Context, d *sluice.Delivery) error {
	if len(d.Payload) < indexBytes || l.began.Load() == 0 || len(l.delivered) == l.count {
		return nil // A message of another run.
	}
	l.delivered = append(l.delivered, l.since(int(binary.LittleEndian.Uint32(d.Payload))))
	if len(l.delivered) == l.count {
		close(l.all)
	}
	return nil
}

const indexBytes = 4

// send sends every message when it is due, and notes when its receipt came.
func (l *latencyRun) send(ctx context.Context, producer *sluice.Producer, payloadBytes int) ([]time.Duration, error) {
	results := make(chan *sluice.Result, l.count)
	var published []time.Duration
	noted := make(chan error, 1)
	began := time.Now()
	l.began.Store(began.UnixNano())
	go func() {
		var err error
		published, err = l.noteReceipts(ctx, results)
		noted <- err
	}()
	payload := make([]byte, max(payloadBytes, indexBytes))
	for i := range l.count {
		time.Sleep(time.Until(began.Add(time.Duration(i) * l.interval)))
		binary.LittleEndian.PutUint32(payload, uint32(i))
		results <- producer.Send(ctx, &sluice.Message{Payload: payload})
	}
	close(results)
	err := <-noted
	return published, err
}

// noteReceipts takes them in the order of the messages, which is that in which they come.
func (l *latencyRun) noteReceipts(ctx context.Context, results <-chan *sluice.Result) ([]time.Duration, error) {
	published := make([]time.Duration, 0, l.count)
	for result := range results {
		if _, err := result.Get(ctx); err != nil {
			return nil, err
		}
		published = append(published, l.since(len(published)))
	}
	return published, nil
}

// awaitSession waits until the broker knows the consumer: what is sent before would not count.
func awaitSession(ctx context.Context, client *sluice.Client, o *options) error {
	for {
		found, err := client.Admin.ListConsumers(ctx, &sluicev1.ListConsumersRequest{
			Topic: o.topic, Subscription: o.subscription,
		})
		switch reason := sluice.ReasonOf(err); {
		case err == nil && len(found.GetConsumers()) > 0:
			return nil
		case err != nil && reason != sluice.ReasonTopicNotFound && reason != sluice.ReasonSubscriptionNotFound:
			return err
		}
		if err := pause(ctx, pollEvery); err != nil {
			return err
		}
	}
}

type percentiles struct {
	P50Ms float64 `json:"p50Ms"`
	P99Ms float64 `json:"p99Ms"`
	MaxMs float64 `json:"maxMs"`
}

func percentilesOf(times []time.Duration) percentiles {
	slices.Sort(times)
	at := func(part float64) float64 {
		index := min(len(times)-1, int(part*float64(len(times))))
		return float64(times[index].Microseconds()) / 1000
	}
	if len(times) == 0 {
		return percentiles{}
	}
	return percentiles{at(0.5), at(0.99), at(1)}
}

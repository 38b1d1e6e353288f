package main

import (
	"context"
	"encoding/binary"
	"slices"
	"sync"
	"time"

	sluice "github.com/sluice-mq/sluice/clients/go"
	"github.com/sluice-mq/sluice/clients/go/sluicev1"
)

// measured is what bench publish and bench consume print.
type measured struct {
	Messages int     `json:"messages"`
	Seconds  float64 `json:"seconds"`
}

// benchPublish measures from the first send to the last receipt.
func benchPublish(ctx context.Context, client *sluice.Client, topic string, count, payloadBytes int) (any, error) {
	producer, err := client.OpenProducer(ctx, sluice.ProducerConfig{Topic: topic})
	if err != nil {
		return nil, err
	}
	message := &sluice.Message{Payload: make([]byte, payloadBytes)}
	results := make([]*sluice.Result, count)
	begun := time.Now()
	for i := range results {
		results[i] = producer.Send(ctx, message)
	}
	if err := producer.Flush(ctx); err != nil {
		return nil, err
	}
	elapsed := time.Since(begun)
	for _, result := range results {
		if _, err := result.Get(ctx); err != nil {
			return nil, err
		}
	}
	return measured{count, elapsed.Seconds()}, producer.Close(ctx)
}

// benchConsume measures from the first delivery to the last durable acknowledgement.
func benchConsume(ctx context.Context, client *sluice.Client, topic, subscription string, count int) (any, error) {
	consumer, err := client.NewConsumer(sluice.ConsumerConfig{Topic: topic, Subscription: subscription})
	if err != nil {
		return nil, err
	}
	var begun time.Time
	handled := 0
	all := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- consumer.Run(ctx, func(context.Context, *sluice.Delivery) error {
			if handled == 0 {
				begun = time.Now()
			}
			if handled++; handled == count {
				close(all)
			}
			return nil
		})
	}()
	select {
	case <-all:
	case err := <-ended:
		return nil, err
	}
	// Closing waits until what was acknowledged is durable.
	if err := consumer.Close(ctx); err != nil {
		return nil, err
	}
	elapsed := time.Since(begun)
	return measured{handled, elapsed.Seconds()}, <-ended
}

type latencies struct {
	Messages int         `json:"messages"`
	Publish  percentiles `json:"publish"`
	Deliver  percentiles `json:"deliver"`
}

type percentiles struct {
	P50Ms float64 `json:"p50Ms"`
	P99Ms float64 `json:"p99Ms"`
	MaxMs float64 `json:"maxMs"`
}

// benchLatency counts a message's time from the moment when it was due: one that is sent late waits as well.
func benchLatency(
	ctx context.Context, client *sluice.Client, topic, subscription string, rate, seconds float64, payloadBytes int,
) (any, error) {
	count := int(rate * seconds)
	consumer, err := client.NewConsumer(sluice.ConsumerConfig{
		Topic: topic, Subscription: subscription, Start: sluice.Latest(),
	})
	if err != nil {
		return nil, err
	}
	var begun time.Time
	due := func(i int) time.Time { return begun.Add(time.Duration(float64(i) / rate * float64(time.Second))) }
	delivered := make([]time.Duration, 0, count)
	all := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- consumer.Run(ctx, func(_ context.Context, d *sluice.Delivery) error {
			delivered = append(delivered, time.Since(due(int(binary.LittleEndian.Uint32(d.Payload)))))
			if len(delivered) == count {
				close(all)
			}
			return nil
		})
	}()
	if err := untilConnected(ctx, client, topic, subscription); err != nil {
		return nil, err
	}
	producer, err := client.OpenProducer(ctx, sluice.ProducerConfig{Topic: topic})
	if err != nil {
		return nil, err
	}
	results := make(chan *sluice.Result, count)
	published := make([]time.Duration, count)
	var waiting sync.WaitGroup
	waiting.Go(func() {
		i := 0
		for result := range results {
			if _, err = result.Get(ctx); err != nil {
				return
			}
			published[i] = time.Since(due(i))
			i++
		}
	})
	begun = time.Now()
	for i := range count {
		time.Sleep(time.Until(due(i)))
		payload := make([]byte, max(4, payloadBytes))
		binary.LittleEndian.PutUint32(payload, uint32(i))
		results <- producer.Send(ctx, &sluice.Message{Payload: payload})
	}
	close(results)
	waiting.Wait()
	if err != nil {
		return nil, err
	}
	select {
	case <-all:
	case err := <-ended:
		return nil, err
	}
	if err := consumer.Close(ctx); err != nil {
		return nil, err
	}
	return latencies{count, percentilesOf(published), percentilesOf(delivered)}, producer.Close(ctx)
}

// untilConnected waits until the broker knows the consumer: what is sent before would not count.
func untilConnected(ctx context.Context, client *sluice.Client, topic, subscription string) error {
	request := &sluicev1.ListConsumersRequest{Topic: topic, Subscription: subscription}
	for {
		found, err := client.Admin.ListConsumers(ctx, request)
		switch reason := sluice.ReasonOf(err); {
		case reason == sluice.ReasonTopicNotFound || reason == sluice.ReasonSubscriptionNotFound:
			// The consumer makes them.
		case err != nil || len(found.GetConsumers()) > 0:
			return err
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

func percentilesOf(times []time.Duration) percentiles {
	slices.Sort(times)
	at := func(share float64) float64 {
		return times[min(len(times)-1, int(share*float64(len(times))))].Seconds() * 1000
	}
	return percentiles{at(0.5), at(0.99), at(1)}
}

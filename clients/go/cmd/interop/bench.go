package main

import (
	"context"
	"errors"
	"time"

	sluice "github.com/sluice-mq/sluice/clients/go"
)

// measured is what the benches of throughput print.
type measured struct {
	Messages int     `json:"messages"`
	Seconds  float64 `json:"seconds"`
}

// benchPublish measures from the first send to the last receipt.
func benchPublish(ctx context.Context, client *sluice.Client, o *options) (any, error) {
	producer, err := openProducer(ctx, client, o.topic)
	if err != nil {
		return nil, err
	}
	message := &sluice.Message{Payload: make([]byte, o.payloadBytes)}
	// One result of each batch: its messages become durable, or fail, together.
	var results []*sluice.Result
	began := time.Now()
	for range o.messages {
		result := producer.Send(ctx, message)
		if n := len(results); n == 0 || results[n-1].Done() != result.Done() {
			results = append(results, result)
		}
	}
	if err := producer.Flush(ctx); err != nil {
		return nil, err
	}
	for _, result := range results {
		if _, err := result.Get(ctx); err != nil {
			return nil, err
		}
	}
	took := time.Since(began)
	return &measured{o.messages, took.Seconds()}, producer.Close(ctx)
}

// benchConsume measures from the first delivery to the last durable acknowledgement.
func benchConsume(ctx context.Context, client *sluice.Client, o *options) (any, error) {
	consumer, err := client.NewConsumer(sluice.ConsumerConfig{Topic: o.topic, Subscription: o.subscription})
	if err != nil {
		return nil, err
	}
	var began time.Time
	handled := 0
	// One settlement for each request that acknowledges: its messages become durable together.
	var settlements []sluice.Settlement
	all := make(chan struct{})
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := make(chan error, 1)
	go func() {
		err := consumer.Run(ctx, func(_ context.Context, d *sluice.Delivery) error {
			if handled == 0 {
				began = time.Now()
			}
			settlement := d.Ack()
			if n := len(settlements); n == 0 || settlements[n-1].Done() != settlement.Done() {
				settlements = append(settlements, settlement)
			}
			if handled++; handled == o.messages {
				close(all)
			}
			return nil
		})
		cancel(err)
		ended <- err
	}()
	select {
	case <-all:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	for _, settlement := range settlements {
		isDurable, err := settlement.Wait(ctx)
		if err != nil {
			return nil, err
		}
		if !isDurable {
			return nil, errors.New("an acknowledgement was not taken")
		}
	}
	took := time.Since(began)
	if err := consumer.Close(ctx); err != nil {
		return nil, err
	}
	return &measured{o.messages, took.Seconds()}, <-ended
}

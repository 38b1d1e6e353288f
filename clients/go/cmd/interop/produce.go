package main

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"

	sluice "github.com/sluice-mq/sluice/clients/go"
)

// produced is what produce prints.
type produced struct {
	Sent int `json:"sent"`
	// Receipts are [partition, offset], or null for a duplicate.
	Receipts []*[2]uint64 `json:"receipts"`
}

// produce sends the messages of a case in order and waits for every receipt.
func produce(ctx context.Context, client *sluice.Client, o *options) (any, error) {
	messages, err := readCase(o.casesPath, o.caseName)
	if err != nil {
		return nil, err
	}
	producer, err := openProducer(ctx, client, o.topic)
	if err != nil {
		return nil, err
	}
	results := make([]*sluice.Result, len(messages))
	for i := range messages {
		results[i] = producer.Send(ctx, &messages[i])
	}
	done := &produced{Sent: len(messages)}
	for _, result := range results {
		receipt, err := result.Get(ctx)
		if err != nil {
			return nil, err
		}
		var place *[2]uint64
		if receipt.HasPlace {
			place = &[2]uint64{uint64(receipt.Partition), receipt.Offset}
		}
		done.Receipts = append(done.Receipts, place)
	}
	return done, producer.Close(ctx)
}

// pollEvery is how often something is asked that has no event.
const pollEvery = 20 * time.Millisecond

// openProducer also opens one while the broker is away: it comes back.
func openProducer(ctx context.Context, client *sluice.Client, topic string) (*sluice.Producer, error) {
	for {
		producer, err := client.OpenProducer(ctx, sluice.ProducerConfig{Topic: topic})
		var failure *sluice.Error
		if !errors.As(err, &failure) || failure.Code != codes.Unavailable {
			return producer, err
		}
		if err := pause(ctx, pollEvery); err != nil {
			return nil, err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

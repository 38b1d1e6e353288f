package main

import (
	"context"

	sluice "github.com/sluice-mq/sluice/clients/go"
	"github.com/sluice-mq/sluice/clients/go/sluicev1"
)

// consumed is what consume prints.
type consumed struct {
	Received    int      `json:"received"`
	Redelivered int      `json:"redelivered"`
	Problems    []string `json:"problems"`
}

// acknowledgement of a delivery, whose answer comes later.
type acknowledgement struct {
	at         place
	settlement sluice.Settlement
}

// consume handles until every message of the case has been handled and its acknowledgement is durable.
func consume(ctx context.Context, client *sluice.Client, o *options) (any, error) {
	messages, err := readCase(o.casesPath, o.caseName)
	if err != nil {
		return nil, err
	}
	consumer, err := client.NewConsumer(sluice.ConsumerConfig{Topic: o.topic, Subscription: o.subscription})
	if err != nil {
		return nil, err
	}
	running, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	accounting := newAccounting(messages)
	acks := make(chan acknowledgement, len(messages))
	ended := make(chan error, 1)
	go func() {
		err := consumer.Run(running, func(ctx context.Context, d *sluice.Delivery) error {
			accounting.handled(d)
			select {
			case acks <- acknowledgement{place{d.Partition(), d.Offset()}, d.Ack()}:
			case <-ctx.Done():
			}
			return nil
		})
		cancel(err)
		ended <- err
	}()
	if err := awaitDurable(running, client, o, accounting, acks); err != nil {
		return nil, err
	}
	// Not by what ends with Run, for that is what Close brings about.
	if err := consumer.Close(ctx); err != nil {
		return nil, err
	}
	return accounting.result(), <-ended
}

// awaitDurable follows the acknowledgements. Where a broken stream has swallowed the answer of one that was durable, its
// message does not come again: then the broker is asked whether anything is left.
func awaitDurable(
	ctx context.Context, client *sluice.Client, o *options, accounting *accounting, acks <-chan acknowledgement,
) error {
	for !accounting.areAllDurable() {
		select {
		case ack := <-acks:
			isDurable, err := ack.settlement.Wait(ctx)
			if err != nil {
				return context.Cause(ctx)
			}
			if isDurable {
				accounting.durable(ack.at)
			}
			continue
		default:
		}
		if err := pause(ctx, pollEvery); err != nil {
			return context.Cause(ctx)
		}
		if len(acks) == 0 && accounting.areAllHandled() && isCaughtUp(ctx, client, o) {
			return nil
		}
	}
	return nil
}

// isCaughtUp is false where the broker does not answer: it is asked again later.
func isCaughtUp(ctx context.Context, client *sluice.Client, o *options) bool {
	found, err := client.Admin.GetSubscription(ctx, &sluicev1.GetSubscriptionRequest{Topic: o.topic, Name: o.subscription})
	if err != nil {
		return false
	}
	for _, partition := range found.GetSubscription().GetPartitions() {
		if partition.GetBacklogMessageCount() > 0 {
			return false
		}
	}
	return true
}

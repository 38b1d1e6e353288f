// Command orders shows orders that are billed, in order of each customer; one of them fails twice and is then given up.
// Run it with the address of a broker: go run ./examples/orders 127.0.0.1:7070
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"sync/atomic"

	sluice "github.com/sluice-mq/sluice/clients/go"
	"github.com/sluice-mq/sluice/clients/go/sluicev1"
)

const (
	topic      = "orders"
	orderCount = 30
)

var customers = []string{"anna", "ben", "carla"}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: orders host:port")
	}
	if err := run(context.Background(), os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, address string) error {
	client, err := sluice.Connect(address)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := prepare(ctx, client); err != nil {
		return err
	}
	if err := order(ctx, client); err != nil {
		return err
	}
	return bill(ctx, client)
}

func prepare(ctx context.Context, client *sluice.Client) error {
	_, err := client.Admin.CreateTopic(ctx, &sluicev1.CreateTopicRequest{
		Topic: &sluicev1.Topic{Name: topic, PartitionCount: 4},
	})
	if err != nil {
		return err
	}
	_, err = client.Admin.CreateSubscription(ctx, &sluicev1.CreateSubscriptionRequest{
		Subscription: &sluicev1.Subscription{
			Topic: topic, Name: "billing",
			Ordering:   sluicev1.Ordering_ORDERING_KEY,
			DeadLetter: &sluicev1.DeadLetterPolicy{MaxAttempts: 2},
		},
	})
	return err
}

func order(ctx context.Context, client *sluice.Client) error {
	producer, err := client.OpenProducer(ctx, sluice.ProducerConfig{Topic: topic})
	if err != nil {
		return err
	}
	var results []*sluice.Result
	for i := range orderCount {
		results = append(results, producer.Send(ctx, &sluice.Message{
			Key: []byte(customers[i%len(customers)]), Payload: fmt.Appendf(nil, "order %d", i),
		}))
	}
	for _, result := range results {
		if _, err := result.Get(ctx); err != nil {
			return err
		}
	}
	fmt.Println(orderCount, "orders are durable")
	return producer.Close(ctx)
}

func bill(ctx context.Context, client *sluice.Client) error {
	consumer, err := client.NewConsumer(sluice.ConsumerConfig{
		Topic: topic, Subscription: "billing", Concurrency: len(customers),
	})
	if err != nil {
		return err
	}
	ctx, done := context.WithCancel(ctx)
	defer done()
	var billed atomic.Int32
	err = consumer.Run(ctx, func(_ context.Context, d *sluice.Delivery) error {
		if string(d.Payload) == "order 7" {
			fmt.Printf("%s of %s fails, attempt %d\n", d.Payload, d.Key, d.Attempt())
			return errors.New("no such card")
		}
		if billed.Add(1) == orderCount-1 {
			done()
		}
		return nil
	})
	fmt.Println(billed.Load(), "orders were billed")
	return err
}

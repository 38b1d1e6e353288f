// Command orders sends orders and bills them: a producer and a consumer in one process, until it is interrupted.
//
//	go run ./example/orders -server 127.0.0.1:7070
//
// With -orders n it ends by itself when so many have been billed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	sluice "github.com/sluice-mq/sluice/clients/go"
)

var customers = []string{"anna", "ben", "carla"}

func main() {
	server := flag.String("server", "127.0.0.1:7070", "host:port of the broker")
	orders := flag.Int("orders", 0, "how many orders to send; 0 for no end")
	every := flag.Duration("every", 500*time.Millisecond, "pause between orders")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	client, err := sluice.Connect(*server)
	if err != nil {
		log.Fatal(err)
	}
	sent := make(chan error, 1)
	go func() { sent <- send(ctx, client, *orders, *every) }()
	err = errors.Join(bill(ctx, client, *orders, stop), <-sent, client.Close())
	if err != nil {
		log.Fatal(err)
	}
}

// send hands over one order after the other. The receipts are looked at when they come.
func send(ctx context.Context, client *sluice.Client, count int, every time.Duration) error {
	// With a name of its own, it goes on where the last run ended.
	producer, err := client.OpenProducer(ctx, sluice.ProducerConfig{Topic: "orders", ProducerID: "shop"})
	if err != nil {
		return err
	}
	first := int(producer.LastSequence()) + 1
	for i := 0; (count == 0 || i < count) && ctx.Err() == nil; i++ {
		number := first + i
		result := producer.Send(ctx, &sluice.Message{
			Key:     []byte(customers[number%len(customers)]),
			Payload: fmt.Appendf(nil, "order %d", number),
			Headers: map[string]string{"content-type": "text/plain"},
		})
		go report(ctx, number, result)
		select {
		case <-time.After(every):
		case <-ctx.Done():
		}
	}
	return producer.Close(context.WithoutCancel(ctx))
}

func report(ctx context.Context, number int, result *sluice.Result) {
	receipt, err := result.Get(ctx)
	switch {
	case err != nil:
		log.Printf("order %d: %v", number, err)
	case receipt.HasPlace:
		log.Printf("order %d is stored in partition %d at offset %d", number, receipt.Partition, receipt.Offset)
	default:
		log.Printf("order %d had been stored before", number)
	}
}

// bill handles orders until ctx ends. Each seventh fails at first, and comes again.
func bill(ctx context.Context, client *sluice.Client, count int, stop func()) error {
	consumer, err := client.NewConsumer(sluice.ConsumerConfig{
		Topic: "orders", Subscription: "billing", Concurrency: 4,
	})
	if err != nil {
		return err
	}
	var billed atomic.Int64
	return consumer.Run(ctx, func(_ context.Context, d *sluice.Delivery) error {
		if d.Offset()%7 == 6 && d.Attempt() == 1 {
			return errors.New("the printer is out of paper")
		}
		log.Printf("billed %s of %s (attempt %d)", d.Payload, d.Key, d.Attempt())
		if int(billed.Add(1)) == count {
			stop()
		}
		return nil
	})
}

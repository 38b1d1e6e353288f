package sluice

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-mq/sluice/clients/go/internal/brokertest"
	"github.com/sluice-mq/sluice/clients/go/sluicev1"
)

// shared is for the tests that don't harm it.
var shared *brokertest.Broker

func TestMain(m *testing.M) {
	var err error
	if shared, err = brokertest.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if code != 0 {
		fmt.Fprintln(os.Stderr, shared.Log())
	}
	shared.Dispose()
	os.Exit(code)
}

// testLimit is how long a test waits for what has to happen.
const testLimit = 30 * time.Second

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testLimit)
	t.Cleanup(cancel)
	return ctx
}

// ownBroker is one that the test may kill.
func ownBroker(t *testing.T, args ...string) *brokertest.Broker {
	t.Helper()
	broker, err := brokertest.Start(args...)
	check(t, err)
	t.Cleanup(broker.Dispose)
	return broker
}

func connect(t *testing.T, address string, options ...Option) *Client {
	t.Helper()
	client, err := Connect(address, options...)
	check(t, err)
	t.Cleanup(func() { check(t, client.Close()) })
	return client
}

var topicCount atomic.Int64

// makeTopic makes one of its own for the test.
func makeTopic(t *testing.T, client *Client, topic *sluicev1.Topic) string {
	t.Helper()
	topic.Name = fmt.Sprintf("%s.%d", strings.ReplaceAll(t.Name(), "/", "."), topicCount.Add(1))
	_, err := client.Admin.CreateTopic(testContext(t), &sluicev1.CreateTopicRequest{Topic: topic})
	check(t, err)
	return topic.Name
}

func openProducer(t *testing.T, client *Client, config ProducerConfig) *Producer {
	t.Helper()
	producer, err := client.OpenProducer(testContext(t), config)
	check(t, err)
	t.Cleanup(func() {
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		_ = producer.Close(ended) // What is left of it is of no interest any more.
	})
	return producer
}

// readLog reads what a topic holds now, by partition and offset.
func readLog(t *testing.T, client *Client, topic string) map[place]*sluicev1.Message {
	t.Helper()
	stream, err := client.Broker.Read(testContext(t), &sluicev1.ReadRequest{Topic: topic})
	check(t, err)
	stored := map[place]*sluicev1.Message{}
	for {
		response, err := stream.Recv()
		if err == io.EOF {
			return stored
		}
		check(t, err)
		for _, run := range response.GetRuns() {
			for i, message := range run.GetMessages() {
				stored[place{run.GetPartition(), run.GetFirstOffset() + uint64(i)}] = message
			}
		}
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal[T comparable](t *testing.T, got, want T, what string) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: %v, want %v", what, got, want)
	}
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	sluice "github.com/sluice-mq/sluice/clients/go"
	"github.com/sluice-mq/sluice/clients/go/internal/brokertest"
	"github.com/sluice-mq/sluice/clients/go/sluicev1"
)

var broker *brokertest.Broker

func TestMain(m *testing.M) {
	var err error
	if broker, err = brokertest.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	broker.Dispose()
	os.Exit(code)
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func casesPath(t *testing.T) string {
	t.Helper()
	root, err := brokertest.Root()
	check(t, err)
	return filepath.Join(root, "clients/interop/cases.json")
}

// do runs a command as the program would, and gives what it would print.
func do(t *testing.T, name string, o options) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	o.server, o.casesPath = broker.Address, casesPath(t)
	result, err := connectAndDo(ctx, &o, commands[name])
	check(t, err)
	text, err := json.Marshal(result)
	check(t, err)
	return string(text)
}

func makeTopic(t *testing.T, name string, partitionCount uint32) {
	t.Helper()
	client, err := sluice.Connect(broker.Address)
	check(t, err)
	defer func() { check(t, client.Close()) }()
	_, err = client.Admin.CreateTopic(t.Context(), &sluicev1.CreateTopicRequest{
		Topic: &sluicev1.Topic{Name: name, PartitionCount: partitionCount},
	})
	check(t, err)
}

func TestEveryCaseGoesThere(t *testing.T) {
	cases, err := readCases(casesPath(t))
	check(t, err)
	for _, c := range cases {
		if c.Name == "kills" {
			continue // The same as "order", only longer.
		}
		t.Run(c.Name, func(t *testing.T) {
			count := len(c.messages())
			makeTopic(t, "case-"+c.Name, c.PartitionCount)
			sent := do(t, "produce", options{topic: "case-" + c.Name, caseName: c.Name})
			var receipts produced
			check(t, json.Unmarshal([]byte(sent), &receipts))
			if receipts.Sent != count || len(receipts.Receipts) != count || strings.Contains(sent, "null") {
				t.Fatalf("%d messages: %s", count, sent)
			}
			got := do(t, "consume", options{topic: "case-" + c.Name, subscription: "s", caseName: c.Name})
			if want := fmt.Sprintf(`{"received":%d,"redelivered":0,"problems":[]}`, count); got != want {
				t.Fatalf("%s, want %s", got, want)
			}
		})
	}
}

func TestWhatDiffersIsFound(t *testing.T) {
	makeTopic(t, "differs", 1)
	client, err := sluice.Connect(broker.Address)
	check(t, err)
	defer func() { check(t, client.Close()) }()
	messages, err := readCase(casesPath(t), "keys")
	check(t, err)
	// Two of a key are exchanged, a header is added, and a payload is another.
	messages[0], messages[2] = messages[2], messages[0]
	messages[3].Headers = map[string]string{"more": "than was sent"}
	messages[6].Payload = []byte("other")
	producer, err := client.OpenProducer(t.Context(), sluice.ProducerConfig{Topic: "differs"})
	check(t, err)
	for i := range messages {
		producer.Send(t.Context(), &messages[i])
	}
	check(t, producer.Close(t.Context()))
	got := do(t, "consume", options{topic: "differs", subscription: "s", caseName: "keys"})
	for _, want := range []string{"same key", "headers", "never sent"} {
		if !strings.Contains(got, want) {
			t.Errorf("nothing about %q in %s", want, got)
		}
	}
}

func TestBenches(t *testing.T) {
	makeTopic(t, "bench", 4)
	if got := do(t, "bench publish", options{topic: "bench", messages: 5000, payloadBytes: 100}); !strings.HasPrefix(got, `{"messages":5000,"seconds":`) {
		t.Fatal(got)
	}
	if got := do(t, "bench consume", options{topic: "bench", subscription: "s", messages: 5000}); !strings.HasPrefix(got, `{"messages":5000,"seconds":`) {
		t.Fatal(got)
	}
	got := do(t, "bench latency", options{topic: "bench", subscription: "l", rate: 2000, seconds: 0.2, payloadBytes: 100})
	var measured latencies
	check(t, json.Unmarshal([]byte(got), &measured))
	if measured.Messages != 400 || measured.Publish.P50Ms <= 0 || measured.Deliver.P99Ms < measured.Deliver.P50Ms {
		t.Fatal(got)
	}
}

func TestExitCodes(t *testing.T) {
	where := []string{"--server", broker.Address, "--topic", "empty", "--cases", casesPath(t)}
	for want, args := range map[int][]string{
		exitFailed:   append([]string{"produce", "--case", "none of them"}, where...),
		exitTimedOut: append([]string{"consume", "--subscription", "s", "--case", "keys", "--timeout", "0.1"}, where...),
	} {
		if got := run(args); got != want {
			t.Errorf("%v: %d, want %d", args, got, want)
		}
	}
	for _, args := range [][]string{{}, {"bench"}, {"produce"}, {"produce", "--what"}} {
		if got := run(args); got != exitFailed {
			t.Errorf("%v: %d, want %d", args, got, exitFailed)
		}
	}
}

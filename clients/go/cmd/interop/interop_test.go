package main

import (
	"strings"
	"testing"
	"time"

	sluice "github.com/sluice-mq/sluice/clients/go"
	"github.com/sluice-mq/sluice/clients/go/internal/brokertest"
)

const casesPath = "../../../interop/cases.json"

func messagesOf(t *testing.T, name string) []*sluice.Message {
	t.Helper()
	messages, err := readCase(casesPath, name)
	if err != nil {
		t.Fatal(err)
	}
	return messages
}

func TestCasesAreSpelledOut(t *testing.T) {
	order := messagesOf(t, "order")
	last := order[len(order)-1]
	if len(order) != 20_000 || string(last.Key) != "key-17" || last.Headers["index"] != "19999" {
		t.Errorf("the last of %d messages is %v", len(order), last)
	}
	if text := strings.TrimLeft(string(last.Payload), "0"); text != "19999" || len(last.Payload) != 64 {
		t.Errorf("its payload is %q", last.Payload)
	}
	headers := messagesOf(t, "headers")
	if at := headers[3].EventTime; at.Unix() != -1 || at.Nanosecond() != 999_999_999 {
		t.Errorf("event time is %v", at)
	}
	payloads := messagesOf(t, "payloads")
	if n := len(payloads[6].Payload); n != 80_000 {
		t.Errorf("%d bytes are repeated", n)
	}
	if _, err := readCase(casesPath, "else"); err == nil {
		t.Error("a case was found that is not there")
	}
}

func TestDifferencesAreSeen(t *testing.T) {
	sent := &sluice.Message{Key: []byte("k"), Payload: []byte("p"), Headers: map[string]string{"a": "b"}}
	same := *sent
	if text := difference(sent, &same); text != "" {
		t.Error(text)
	}
	for _, change := range []func(*sluice.Message){
		func(m *sluice.Message) { m.Key = nil },
		func(m *sluice.Message) { m.Payload = []byte("q") },
		func(m *sluice.Message) { m.Headers = nil },
		func(m *sluice.Message) { m.EventTime = time.Unix(1, 0) },
	} {
		changed := *sent
		change(&changed)
		if difference(sent, &changed) == "" {
			t.Errorf("%v passes for %v", changed, sent)
		}
	}
}

func TestCasesGoThroughABroker(t *testing.T) {
	broker, err := brokertest.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Dispose()
	where := []string{"--server", broker.Address, "--cases", casesPath, "--timeout", "60"}
	for _, name := range []string{"payloads", "keys", "headers", "large"} {
		of := append([]string{"--topic", name, "--case", name}, where...)
		if code := run(append([]string{"produce"}, of...)); code != 0 {
			t.Fatalf("produce ended with %d", code)
		}
		if code := run(append([]string{"consume", "--subscription", "s"}, of...)); code != 0 {
			t.Fatalf("consume ended with %d", code)
		}
	}
	other := append([]string{"consume", "--topic", "keys", "--subscription", "t", "--case", "payloads"}, where...)
	other[len(other)-1] = "3"
	if code := run(other); code == 0 {
		t.Error("the messages of one case pass for those of another")
	}
}

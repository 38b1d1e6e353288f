package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"time"

	sluice "github.com/sluice-mq/sluice/clients/go"
)

// defaultCases is found from where the program is: clients/go/build.
func defaultCases() string {
	executable, err := os.Executable()
	if err != nil {
		return ""
	}
	return filepath.Join(filepath.Dir(executable), "../../interop/cases.json")
}

// caseBytes is text, base64, or something repeated.
type caseBytes struct {
	Text   string     `json:"text"`
	Base64 []byte     `json:"base64"`
	Repeat *caseBytes `json:"repeat"`
	Count  int        `json:"count"`
}

func (b *caseBytes) bytes() []byte {
	switch {
	case b == nil:
		return nil
	case b.Repeat != nil:
		return bytes.Repeat(b.Repeat.bytes(), b.Count)
	case len(b.Base64) > 0:
		return b.Base64
	}
	return []byte(b.Text)
}

type caseText struct {
	Name     string `json:"name"`
	Messages []struct {
		Key       *caseBytes        `json:"key"`
		Payload   *caseBytes        `json:"payload"`
		Headers   map[string]string `json:"headers"`
		EventTime time.Time         `json:"eventTime"`
	} `json:"messages"`
	Sequence *struct {
		Count        int `json:"count"`
		Keys         int `json:"keys"`
		PayloadBytes int `json:"payloadBytes"`
	} `json:"sequence"`
}

// readCase spells out the messages of a case, as clients/interop/README.md explains them.
func readCase(path, name string) ([]*sluice.Message, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var all struct {
		Cases []caseText `json:"cases"`
	}
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, err
	}
	for _, each := range all.Cases {
		if each.Name == name {
			return each.spellOut(), nil
		}
	}
	return nil, fmt.Errorf("there is no case %q", name)
}

func (c *caseText) spellOut() []*sluice.Message {
	var messages []*sluice.Message
	if s := c.Sequence; s != nil {
		for i := range s.Count {
			messages = append(messages, &sluice.Message{
				Key:     fmt.Appendf(nil, "key-%d", i%s.Keys),
				Payload: fmt.Appendf(nil, "%0*d", s.PayloadBytes, i),
				Headers: map[string]string{"index": fmt.Sprint(i)},
			})
		}
		return messages
	}
	for _, m := range c.Messages {
		messages = append(messages, &sluice.Message{
			Key: m.Key.bytes(), Payload: m.Payload.bytes(), Headers: m.Headers, EventTime: m.EventTime,
		})
	}
	return messages
}

// difference is what is not as it was sent, or empty.
func difference(sent, found *sluice.Message) string {
	switch {
	case !bytes.Equal(sent.Key, found.Key):
		return "another key"
	case !bytes.Equal(sent.Payload, found.Payload):
		return "another payload"
	case !maps.Equal(sent.Headers, found.Headers):
		return fmt.Sprintf("headers are %v", found.Headers)
	case !sent.EventTime.Equal(found.EventTime):
		return fmt.Sprintf("event time is %v", found.EventTime)
	}
	return ""
}

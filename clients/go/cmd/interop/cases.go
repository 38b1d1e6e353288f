package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"time"

	sluice "github.com/sluice-mq/sluice/clients/go"
)

// caseText is a case as cases.json has it.
type caseText struct {
	Name           string
	PartitionCount uint32
	Messages       []messageText
	Sequence       *sequenceText
}

type messageText struct {
	Key, Payload *bytesText
	Headers      map[string]string
	EventTime    *time.Time
}

type sequenceText struct {
	Count, Keys, PayloadBytes int
}

type bytesText struct {
	Text   *string
	Base64 []byte
	Repeat *bytesText
	Count  int
}

func readCases(path string) ([]caseText, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var file struct{ Cases []caseText }
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return file.Cases, nil
}

// readCase gives the messages of a case, spelled out.
func readCase(path, name string) ([]sluice.Message, error) {
	cases, err := readCases(path)
	if err != nil {
		return nil, err
	}
	for _, c := range cases {
		if c.Name == name {
			return c.messages(), nil
		}
	}
	return nil, fmt.Errorf("%s has no case %q", path, name)
}

func (c *caseText) messages() []sluice.Message {
	if c.Sequence != nil {
		return c.Sequence.messages()
	}
	messages := make([]sluice.Message, len(c.Messages))
	for i, text := range c.Messages {
		messages[i] = sluice.Message{Key: text.Key.bytes(), Payload: text.Payload.bytes(), Headers: text.Headers}
		if text.EventTime != nil {
			messages[i].EventTime = *text.EventTime
		}
	}
	return messages
}

func (s *sequenceText) messages() []sluice.Message {
	messages := make([]sluice.Message, s.Count)
	for i := range messages {
		messages[i] = sluice.Message{
			Key:     fmt.Appendf(nil, "key-%d", i%s.Keys),
			Payload: fmt.Appendf(nil, "%0*d", s.PayloadBytes, i),
			Headers: map[string]string{"index": fmt.Sprint(i)},
		}
	}
	return messages
}

func (b *bytesText) bytes() []byte {
	switch {
	case b == nil:
		return nil
	case b.Text != nil:
		return []byte(*b.Text)
	case b.Repeat != nil:
		return bytes.Repeat(b.Repeat.bytes(), b.Count)
	}
	return b.Base64
}

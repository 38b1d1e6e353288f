package sluice

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluice-mq/sluice/clients/go/sluicev1"
)

var messageCases = map[string]Message{
	"nothing":          {},
	"a payload":        {Payload: []byte("plain")},
	"a key":            {Key: []byte{0}, Payload: []byte{0xff, 0xfe}},
	"long":             {Key: []byte(strings.Repeat("k", 1024)), Payload: make([]byte, 70_000)},
	"headers":          {Headers: map[string]string{"traceparent": "00-4bf9-00f0-01", "": "no name", "имя": ""}},
	"long headers":     {Headers: map[string]string{"h": strings.Repeat("v", 300), strings.Repeat("n", 200): "v"}},
	"a time":           {EventTime: time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC)},
	"before the epoch": {EventTime: time.Date(1969, 12, 31, 23, 59, 59, 999_999_999, time.UTC)},
	"the epoch":        {EventTime: time.Unix(0, 0).UTC()},
}

func (m *Message) asProto() *sluicev1.Message {
	message := &sluicev1.Message{Key: m.Key, Payload: m.Payload, Headers: m.Headers}
	if !m.EventTime.IsZero() {
		message.EventTime = timestamppb.New(m.EventTime)
	}
	return message
}

func TestMessagesAreEncodedAsProtobufDoes(t *testing.T) {
	for name, message := range messageCases {
		t.Run(name, func(t *testing.T) {
			n := message.encodedBytes()
			equal(t, n, proto.Size(message.asProto()), "length")
			request := &sluicev1.PublishStreamRequest{}
			check(t, proto.Unmarshal(appendMessage(nil, &message, n), request))
			equal(t, len(request.GetMessages()), 1, "messages")
			if !proto.Equal(request.GetMessages()[0], message.asProto()) {
				t.Fatalf("%v", request)
			}
		})
	}
}

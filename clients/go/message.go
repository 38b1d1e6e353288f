package sluice

import (
	"time"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"
)

// Message is one message, as its producer writes it. The broker stores and delivers its bytes unchanged.
type Message struct {
	// Key determines partition and order: messages of one topic with equal keys share a partition and keep their order. Without one,
	// the broker spreads them. At most 1 KiB.
	Key []byte
	// Payload is the content.
	Payload []byte
	// Headers are for the application and for tracing ("traceparent", "content-type"). The broker reserves names that
	// begin with "sluice-".
	Headers map[string]string
	// EventTime is when the event happened, by the producer's clock; or the zero time. The broker
	// does not read it.
	EventTime time.Time
}

// Numbers of fields, as in message.proto and broker.proto.
const (
	messagesField = 15

	keyField       = 1
	payloadField   = 2
	headersField   = 3
	eventTimeField = 4
)

// validate finds values that can't be encoded, so that such a message does not fail a whole batch. The error is an
// *Error.
func (m *Message) validate() error {
	for name, value := range m.Headers {
		if !utf8.ValidString(name) || !utf8.ValidString(value) {
			return ownError(codes.InvalidArgument, ReasonInvalidField, "the header %q is not valid UTF-8", name)
		}
	}
	return nil
}

// encodedBytes is the length of the message itself, without the tag and the length before it.
func (m *Message) encodedBytes() int {
	n := 0
	if len(m.Key) > 0 {
		n += 1 + protowire.SizeBytes(len(m.Key))
	}
	if len(m.Payload) > 0 {
		n += 1 + protowire.SizeBytes(len(m.Payload))
	}
	for name, value := range m.Headers {
		n += 1 + protowire.SizeBytes(entryBytes(name, value))
	}
	if !m.EventTime.IsZero() {
		n += 1 + protowire.SizeBytes(timeBytes(m.EventTime))
	}
	return n
}

// appendMessage adds the message with its tag and its length, n, as a request holds it.
func appendMessage(b []byte, m *Message, n int) []byte {
	b = protowire.AppendTag(b, messagesField, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(n))
	if len(m.Key) > 0 {
		b = protowire.AppendTag(b, keyField, protowire.BytesType)
		b = protowire.AppendBytes(b, m.Key)
	}
	if len(m.Payload) > 0 {
		b = protowire.AppendTag(b, payloadField, protowire.BytesType)
		b = protowire.AppendBytes(b, m.Payload)
	}
	for name, value := range m.Headers {
		b = protowire.AppendTag(b, headersField, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(entryBytes(name, value)))
		b = protowire.AppendTag(b, 1, protowire.BytesType)
		b = protowire.AppendString(b, name)
		b = protowire.AppendTag(b, 2, protowire.BytesType)
		b = protowire.AppendString(b, value)
	}
	if !m.EventTime.IsZero() {
		b = protowire.AppendTag(b, eventTimeField, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(timeBytes(m.EventTime)))
		b = appendNumber(b, 1, uint64(m.EventTime.Unix()))
		b = appendNumber(b, 2, uint64(m.EventTime.Nanosecond()))
	}
	return b
}

func entryBytes(name, value string) int {
	return 2 + protowire.SizeBytes(len(name)) + protowire.SizeBytes(len(value))
}

func timeBytes(t time.Time) int {
	return numberBytes(uint64(t.Unix())) + numberBytes(uint64(t.Nanosecond()))
}

// numberBytes is the length of a field below 16; zero is left out.
func numberBytes(value uint64) int {
	if value == 0 {
		return 0
	}
	return 1 + protowire.SizeVarint(value)
}

func appendNumber(b []byte, field protowire.Number, value uint64) []byte {
	if value == 0 {
		return b
	}
	b = protowire.AppendTag(b, field, protowire.VarintType)
	return protowire.AppendVarint(b, value)
}

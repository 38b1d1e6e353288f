package sluice

import (
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-mq/sluice/clients/go/sluicev1"
)

// Numbers of fields of ConsumeResponse and of MessageRun.
const (
	openedField  = 1
	runsField    = 2
	settledField = 5
	revokedField = 6

	runPartitionField   = 1
	runFirstOffsetField = 2
	runPublishTimeField = 3
	runProducerIDField  = 4
	runAttemptField     = 5
	runDeliveryIDField  = 6
)

// frame is one ConsumeResponse. The messages of its runs are slices of the bytes that were received.
type frame struct {
	opened  *sluicev1.SessionOpened
	runs    [][]Delivery
	settled []*sluicev1.ConsumeResponse_Settled
	revoked []*sluicev1.OffsetRange
}

// parseFrame decodes a response. It ignores unknown fields.
func parseFrame(b []byte, s *session) (f frame, err error) {
	err = eachField(b, func(field protowire.Number, bytes []byte, _ uint64) error {
		switch field {
		case openedField:
			f.opened = &sluicev1.SessionOpened{}
			return proto.Unmarshal(bytes, f.opened)
		case runsField:
			deliveries, err := parseRun(bytes, s)
			f.runs = append(f.runs, deliveries)
			return err
		case settledField:
			settled := &sluicev1.ConsumeResponse_Settled{}
			f.settled = append(f.settled, settled)
			return proto.Unmarshal(bytes, settled)
		case revokedField:
			revoked := &sluicev1.OffsetRange{}
			f.revoked = append(f.revoked, revoked)
			return proto.Unmarshal(bytes, revoked)
		}
		return nil
	})
	return f, err
}

// parseRun decodes a run into deliveries.
func parseRun(b []byte, s *session) ([]Delivery, error) {
	run := &run{session: s}
	firstOffset := uint64(0)
	count := 0
	err := eachField(b, func(field protowire.Number, bytes []byte, number uint64) (err error) {
		switch field {
		case messagesField:
			count++
		case runPartitionField:
			run.partition = uint32(number)
		case runFirstOffsetField:
			firstOffset = number
		case runPublishTimeField:
			run.publishTime, err = parseTime(bytes)
		case runProducerIDField:
			run.producerID = string(bytes)
		case runAttemptField:
			run.attempt = uint32(number)
		case runDeliveryIDField:
			run.deliveryID = number
		}
		return err
	})
	if err != nil || count == 0 {
		return nil, err
	}
	deliveries := make([]Delivery, count)
	i := 0
	err = eachField(b, func(field protowire.Number, bytes []byte, _ uint64) error {
		if field != messagesField {
			return nil
		}
		d := &deliveries[i]
		d.run, d.offset = run, firstOffset+uint64(i)
		i++
		return parseMessage(bytes, &d.Message)
	})
	return deliveries, err
}

func parseMessage(b []byte, m *Message) error {
	return eachField(b, func(field protowire.Number, bytes []byte, _ uint64) (err error) {
		switch field {
		case keyField:
			m.Key = bytes
		case payloadField:
			m.Payload = bytes
		case headersField:
			err = parseHeader(bytes, m)
		case eventTimeField:
			m.EventTime, err = parseTime(bytes)
		}
		return err
	})
}

func parseHeader(b []byte, m *Message) error {
	var name, value string
	err := eachField(b, func(field protowire.Number, bytes []byte, _ uint64) error {
		switch field {
		case 1:
			name = string(bytes)
		case 2:
			value = string(bytes)
		}
		return nil
	})
	if m.Headers == nil {
		m.Headers = map[string]string{}
	}
	m.Headers[name] = value
	return err
}

func parseTime(b []byte) (time.Time, error) {
	var seconds, nanos int64
	err := eachField(b, func(field protowire.Number, _ []byte, number uint64) error {
		switch field {
		case 1:
			seconds = int64(number)
		case 2:
			nanos = int64(int32(number))
		}
		return nil
	})
	return time.Unix(seconds, nanos).UTC(), err
}

// eachField calls visit with every field that holds bytes or a number. The bytes can't be appended to without a copy.
func eachField(b []byte, visit func(field protowire.Number, bytes []byte, number uint64) error) error {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return malformed(n)
		}
		b = b[n:]
		var bytes []byte
		var number uint64
		switch kind {
		case protowire.BytesType:
			if bytes, n = protowire.ConsumeBytes(b); n >= 0 {
				bytes = bytes[:len(bytes):len(bytes)]
			}
		case protowire.VarintType:
			number, n = protowire.ConsumeVarint(b)
		default:
			if n = protowire.ConsumeFieldValue(field, kind, b); n >= 0 {
				b = b[n:]
				continue
			}
		}
		if n < 0 {
			return malformed(n)
		}
		b = b[n:]
		if err := visit(field, bytes, number); err != nil {
			return err
		}
	}
	return nil
}

func malformed(n int) error {
	return ownError(codes.Internal, "INTERNAL", "the response is not valid protobuf: %v", protowire.ParseError(n))
}

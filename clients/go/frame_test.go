package sluice

import (
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluice-mq/sluice/clients/go/sluicev1"
)

func TestFramesAreReadAsProtobufWritesThem(t *testing.T) {
	publishTime := time.Date(2026, 5, 6, 7, 8, 9, 10_000_000, time.UTC)
	response := &sluicev1.ConsumeResponse{
		Opened:     &sluicev1.SessionOpened{SessionId: "s", AckDeadline: durationpb.New(time.Second)},
		Heartbeat:  &sluicev1.Heartbeat{BacklogMessageCount: 7},
		Assignment: &sluicev1.PartitionAssignment{Partitions: []uint32{1, 2}},
		Settled: &sluicev1.ConsumeResponse_Settled{SettlementId: 5, Result: &sluicev1.AcknowledgeResponse{
			Stale: []*sluicev1.OffsetRange{rangeOf(1, 2, 3)},
		}},
		Revoked: []*sluicev1.OffsetRange{rangeOf(3, 4, 5), rangeOf(0, 0, 0)},
	}
	var names []string
	messages := &sluicev1.MessageRun{
		Partition: 3, FirstOffset: 1 << 40, PublishTime: timestamppb.New(publishTime), ProducerId: "p", Attempt: 2,
		DeliveryId: 1 << 33,
	}
	for name, message := range messageCases {
		names = append(names, name)
		messages.Messages = append(messages.Messages, message.asProto())
	}
	response.Runs = []*sluicev1.MessageRun{messages, {Partition: 0, Messages: []*sluicev1.Message{{}}}, {Partition: 9}}
	bytes, err := proto.Marshal(response)
	check(t, err)
	// What a later version adds is skipped.
	bytes = protowire.AppendTag(bytes, 99, protowire.Fixed64Type)
	bytes = protowire.AppendFixed64(bytes, 1)

	f, err := parseFrame(bytes, nil)
	check(t, err)
	equal(t, f.opened.GetSessionId(), "s", "session")
	equal(t, f.settled[0].GetSettlementId(), 5, "settlement")
	equal(t, f.settled[0].GetResult().GetStale()[0].GetLastOffset(), 3, "stale")
	equal(t, len(f.revoked), 2, "revoked")
	equal(t, f.revoked[0].GetPartition(), 3, "revoked partition")
	equal(t, len(f.runs), 3, "runs")
	equal(t, f.runs[0][0].run.deliveryID, 1<<33, "delivery id")
	equal(t, len(f.runs[1])*10+len(f.runs[2]), 10, "messages of the small runs")
	for i := range f.runs[0] {
		d := &f.runs[0][i]
		want := messageCases[names[i]]
		if !proto.Equal(d.Message.asProto(), want.asProto()) {
			t.Fatalf("%s: %+v", names[i], d.Message)
		}
		equal(t, d.EventTime, want.EventTime, "event time of "+names[i])
		equal(t, d.Partition(), 3, "partition")
		equal(t, d.Offset(), 1<<40+uint64(i), "offset")
		equal(t, d.Attempt(), 2, "attempt")
		equal(t, d.PublishTime(), publishTime, "publish time")
		equal(t, d.ProducerID(), "p", "producer")
	}
	for end := range bytes {
		// Cut anywhere, it is read or refused, and nothing worse.
		if f, err := parseFrame(bytes[:end], nil); err == nil && len(f.runs) > 3 {
			t.Fatalf("more runs in fewer bytes: %+v", f)
		}
	}
	_, err = parseFrame(bytes[:len(bytes)-1], nil)
	equal(t, ReasonOf(err), ReasonInternal, "reason of half a frame")
}

package sluice

import (
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-mq/sluice/clients/go/sluicev1"
)

func decodeAcks(t *testing.T, group *settleGroup, id uint64) string {
	t.Helper()
	request := &sluicev1.ConsumeRequest{}
	check(t, proto.Unmarshal(group.encodeAcks(id, 42).parts.Materialize(), request))
	equal(t, request.GetSettlementId(), id, "id")
	equal(t, request.GetLastDeliveryId(), 42, "last delivery id")
	text := ""
	for _, settlement := range request.GetSettlements() {
		if settlement.GetAck() == nil {
			t.Fatalf("not an ack: %v", settlement)
		}
		offsets := settlement.GetOffsets()
		text += fmt.Sprintf("%d:%d-%d ", offsets.GetPartition(), offsets.GetFirstOffset(), offsets.GetLastOffset())
	}
	return text
}

func TestAcksAreMergedIntoRanges(t *testing.T) {
	var o outbox
	for _, ack := range []place{{1, 5}, {0, 0}, {1, 6}, {0, 2}, {0, 1}, {1, 8}, {300, 1 << 50}} {
		o.ack(ack.partition, ack.offset, 10)
	}
	equal(t, o.ackCount, 7, "count")
	equal(t, o.ackBytes, 70, "bytes")
	group := o.take()
	equal(t, decodeAcks(t, group, 77), "0:0-2 1:5-6 1:8-8 300:1125899906842624-1125899906842624 ", "ranges")
	equal(t, o.ackCount+o.ackBytes, 0, "left")
	equal(t, o.isEmpty(), true, "empty")
}

func TestAcksGoBeforeEverythingElse(t *testing.T) {
	var o outbox
	failed := o.add(0, span{1, 1}, failure(fmt.Errorf("no")))
	acks, isFirst := o.ack(0, 2, 1)
	equal(t, isFirst, true, "first")
	equal(t, o.take(), acks, "first")
	equal(t, o.take(), failed, "second")
}

func TestRequestsHaveNoMoreRangesThanTheBrokerTakes(t *testing.T) {
	var o outbox
	for i := range uint64(2*maxRangesPerRequest + 1) {
		o.ack(0, 2*i, 1)
	}
	for i := range uint64(2*maxOutcomesPerRequest + 1) {
		o.add(0, span{2 * i, 2 * i}, extension(1))
	}
	for _, want := range []int{
		maxRangesPerRequest, maxRangesPerRequest, 1, maxOutcomesPerRequest, maxOutcomesPerRequest, 1,
	} {
		equal(t, o.take().rangeCount, want, "ranges")
	}
	equal(t, o.isEmpty(), true, "empty")
}

func TestTheAnswerNamesWhatWasStale(t *testing.T) {
	var o outbox
	group, _ := o.ack(1, 4, 1)
	group.answer([]*sluicev1.OffsetRange{rangeOf(1, 5, 7), rangeOf(2, 4, 4)})
	for offset, want := range map[uint64]bool{4: true, 5: false, 7: false, 8: true} {
		isSettled, err := Settlement{group, 1, offset}.Wait(t.Context())
		check(t, err)
		equal(t, isSettled, want, fmt.Sprintf("offset %d", offset))
	}
}

func TestWhatWaitsForARevokedMessageIsDropped(t *testing.T) {
	var o outbox
	acks, _ := o.ack(1, 4, 1)
	for offset := uint64(5); offset < 10; offset++ {
		o.ack(1, offset, 1)
	}
	alone := o.add(2, span{7, 7}, failure(fmt.Errorf("no")))
	equal(t, len(o.drop([]*sluicev1.OffsetRange{rangeOf(1, 6, 7), rangeOf(3, 0, 100)})), 0, "emptied")
	next, _ := o.ack(1, 6, 1) // The redelivery.
	if next == acks {
		t.Fatal("the redelivery is settled together with what was dropped")
	}
	extensions := o.add(2, span{1, 9}, extension(1))
	equal(t, alone, extensions, "group")
	empty := o.drop([]*sluicev1.OffsetRange{rangeOf(2, 5, 7)})
	equal(t, len(empty), 0, "emptied")
	equal(t, decodeAcks(t, o.take(), 1), "1:4-5 1:8-9 ", "the rest")
	acks.answer(nil)
	next.answer(nil)
	for _, c := range []struct {
		group  *settleGroup
		offset uint64
		want   bool
	}{{acks, 5, true}, {acks, 6, false}, {acks, 7, false}, {acks, 8, true}, {next, 6, true}} {
		equal(t, c.group.isSettled(1, c.offset), c.want, fmt.Sprintf("offset %d", c.offset))
	}
	equal(t, decodeAcks(t, o.take(), 2), "1:6-6 ", "the redelivery")
	text := ""
	for _, settlement := range alone.others {
		text += fmt.Sprintf("%d-%d ", settlement.GetOffsets().GetFirstOffset(), settlement.GetOffsets().GetLastOffset())
	}
	equal(t, text, "1-4 8-9 ", "what is extended")
	empty = o.drop([]*sluicev1.OffsetRange{rangeOf(2, 0, 100)})
	equal(t, len(empty), 1, "emptied")
	equal(t, o.isEmpty(), true, "empty")
}

func TestReasonsAreCutToFit(t *testing.T) {
	equal(t, fitReason("short"), "short", "short")
	equal(t, fitReason("a\xffb"), "a\ufffdb", "not UTF-8")
	long := ""
	for range 400 {
		long += "世"
	}
	equal(t, len(fitReason(long)), 999, "bytes")
}

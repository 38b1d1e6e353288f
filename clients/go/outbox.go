package sluice

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/sluice-mq/sluice/clients/go/sluicev1"
)

const (
	// maxRangesPerRequest is a limit of the broker.
	maxRangesPerRequest = 10_000
	// maxOutcomesPerRequest keeps requests far below what the broker reads: each may have a reason of 1,000 bytes.
	maxOutcomesPerRequest = 1000
)

// span is offsets of one partition, both ends included.
type span struct{ first, last uint64 }

// settleGroup has the settlements of one request, and its answer.
type settleGroup struct {
	// acks by partition, in the order of arrival; or other settlements, with their outcomes.
	acks   map[uint32][]span
	others []*sluicev1.Settlement
	// rangeCount is the number of ranges.
	rangeCount int
	// paused lanes continue after the answer.
	paused []*lane
	// dropped ranges were revoked before the group was sent. The group accepts no more settlements, because the same
	// offset may be delivered again.
	dropped []*sluicev1.OffsetRange

	// done is closed when what follows is set.
	done   chan struct{}
	lapsed bool
	stale  []*sluicev1.OffsetRange
}

func newSettleGroup() *settleGroup { return &settleGroup{done: make(chan struct{})} }

// lapsed is the settlement of a delivery whose lease is over.
var lapsed = func() Settlement {
	group := newSettleGroup()
	group.lapse()
	return Settlement{group: group}
}()

// lapse answers that nothing was settled.
func (g *settleGroup) lapse() {
	g.lapsed = true
	close(g.done)
}

func (g *settleGroup) answer(stale []*sluicev1.OffsetRange) {
	g.stale = stale
	close(g.done)
}

func (g *settleGroup) isSettled(partition uint32, offset uint64) bool {
	if g.lapsed {
		return false
	}
	return !holds(g.stale, partition, offset) && !holds(g.dropped, partition, offset)
}

func holds(ranges []*sluicev1.OffsetRange, partition uint32, offset uint64) bool {
	for _, r := range ranges {
		if r.GetPartition() == partition && r.GetFirstOffset() <= offset && offset <= r.GetLastOffset() {
			return true
		}
	}
	return false
}

// outbox gathers settlements until they are sent. Acknowledgements have requests of their own, because the broker
// handles such requests faster. Only the last group of each kind is open.
type outbox struct {
	acks   []*settleGroup
	others []*settleGroup
	// ackCount and ackBytes wait, since ackedAt.
	ackCount, ackBytes int
	ackedAt            time.Time
}

// ack gathers one acknowledgement. isFirst: no acknowledgement waited before.
func (o *outbox) ack(partition uint32, offset uint64, bytes int) (group *settleGroup, isFirst bool) {
	group = openGroup(&o.acks, maxRangesPerRequest)
	if group.acks == nil {
		group.acks = map[uint32][]span{}
	}
	spans := group.acks[partition]
	if n := len(spans); n > 0 && spans[n-1].last+1 == offset {
		spans[n-1].last = offset
	} else {
		group.acks[partition] = append(spans, span{offset, offset})
		group.rangeCount++
	}
	isFirst = o.ackCount == 0
	if isFirst {
		o.ackedAt = time.Now()
	}
	o.ackCount++
	o.ackBytes += bytes
	return group, isFirst
}

// add gathers another outcome.
func (o *outbox) add(partition uint32, offsets span, settlement *sluicev1.Settlement) *settleGroup {
	group := openGroup(&o.others, maxOutcomesPerRequest)
	settlement.Offsets = &sluicev1.OffsetRange{
		Partition: partition, FirstOffset: offsets.first, LastOffset: offsets.last,
	}
	group.others = append(group.others, settlement)
	group.rangeCount++
	return group
}

func openGroup(groups *[]*settleGroup, maxRanges int) *settleGroup {
	if n := len(*groups); n > 0 && (*groups)[n-1].rangeCount < maxRanges && (*groups)[n-1].dropped == nil {
		return (*groups)[n-1]
	}
	group := newSettleGroup()
	*groups = append(*groups, group)
	return group
}

func (o *outbox) isEmpty() bool { return len(o.acks) == 0 && len(o.others) == 0 }

// take returns the next group to send. Acknowledgements come first, because a nack revokes the messages behind it that
// are not acknowledged.
func (o *outbox) take() *settleGroup {
	from := &o.acks
	if len(*from) == 0 {
		from = &o.others
	} else if len(o.acks) == 1 {
		o.ackCount, o.ackBytes = 0, 0
	}
	group := (*from)[0]
	*from = (*from)[1:]
	return group
}

// lapse answers the groups that were not sent, because the session is over.
func (o *outbox) lapse() []*settleGroup {
	groups := append(o.acks, o.others...)
	*o = outbox{}
	return groups
}

// encodeAcks makes a request of the group.
func (g *settleGroup) encodeAcks(id, lastDeliveryID uint64) *encoded {
	b := make([]byte, 0, 32*g.rangeCount+16)
	for _, partition := range slices.Sorted(maps.Keys(g.acks)) {
		for _, s := range mergeSpans(g.acks[partition]) {
			b = appendAck(b, uint64(partition), s)
		}
	}
	b = appendNumber(b, settlementIDField, id)
	b = appendNumber(b, lastDeliveryIDField, lastDeliveryID)
	return &encoded{mem.BufferSlice{mem.SliceBuffer(b)}}
}

// Numbers of fields of ConsumeRequest, Settlement and OffsetRange.
const (
	settlementsField    = 2
	settlementIDField   = 4
	lastDeliveryIDField = 5

	offsetsField = 1
	ackField     = 2

	rangePartitionField   = 1
	rangeFirstOffsetField = 2
	rangeLastOffsetField  = 3
)

func appendAck(b []byte, partition uint64, s span) []byte {
	rangeBytes := numberBytes(partition) + numberBytes(s.first) + numberBytes(s.last)
	b = protowire.AppendTag(b, settlementsField, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(1+protowire.SizeBytes(rangeBytes)+2))
	b = protowire.AppendTag(b, offsetsField, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(rangeBytes))
	b = appendNumber(b, rangePartitionField, partition)
	b = appendNumber(b, rangeFirstOffsetField, s.first)
	b = appendNumber(b, rangeLastOffsetField, s.last)
	b = protowire.AppendTag(b, ackField, protowire.BytesType)
	return protowire.AppendVarint(b, 0)
}

// mergeSpans sorts them and joins neighbours, in place.
func mergeSpans(spans []span) []span {
	if len(spans) < 2 {
		return spans
	}
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.first, b.first) })
	merged := spans[:1]
	for _, s := range spans[1:] {
		if last := &merged[len(merged)-1]; s.first <= last.last+1 {
			last.last = max(last.last, s.last)
		} else {
			merged = append(merged, s)
		}
	}
	return merged
}

// contains is true if one of the merged spans has the offset.
func contains(spans []span, offset uint64) bool {
	_, isFound := slices.BinarySearchFunc(spans, offset, func(s span, offset uint64) int {
		switch {
		case s.last < offset:
			return -1
		case s.first > offset:
			return 1
		}
		return 0
	})
	return isFound
}

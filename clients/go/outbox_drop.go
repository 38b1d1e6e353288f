package sluice

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-mq/sluice/clients/go/sluicev1"
)

// drop removes the settlements of revoked messages that were not sent: a late settlement must not settle the
// redelivery. It returns the groups that are empty.
func (o *outbox) drop(revoked []*sluicev1.OffsetRange) (empty []*settleGroup) {
	drop := func(g *settleGroup) bool {
		g.drop(revoked)
		if g.rangeCount == 0 {
			empty = append(empty, g)
		}
		return g.rangeCount == 0
	}
	o.acks = slices.DeleteFunc(o.acks, drop)
	o.others = slices.DeleteFunc(o.others, drop)
	if len(o.acks) == 0 {
		o.ackCount, o.ackBytes = 0, 0
	}
	return empty
}

func (g *settleGroup) drop(revoked []*sluicev1.OffsetRange) {
	for _, r := range revoked {
		isHit := g.dropAcks(r.GetPartition(), span{r.GetFirstOffset(), r.GetLastOffset()})
		if g.dropOthers(r) || isHit {
			g.dropped = append(g.dropped, r)
		}
	}
}

func (g *settleGroup) dropAcks(partition uint32, revoked span) (isHit bool) {
	before := g.acks[partition]
	if !slices.ContainsFunc(before, revoked.overlaps) {
		return false
	}
	var kept []span
	for _, s := range before {
		kept = append(kept, s.without(revoked)...)
	}
	g.acks[partition] = kept
	g.rangeCount += len(kept) - len(before)
	return true
}

func (g *settleGroup) dropOthers(r *sluicev1.OffsetRange) (isHit bool) {
	revoked := span{r.GetFirstOffset(), r.GetLastOffset()}
	isMeant := func(settlement *sluicev1.Settlement) bool {
		return settlement.Offsets.Partition == r.GetPartition() && spanOf(settlement).overlaps(revoked)
	}
	if !slices.ContainsFunc(g.others, isMeant) {
		return false
	}
	var kept []*sluicev1.Settlement
	for _, settlement := range g.others {
		if !isMeant(settlement) {
			kept = append(kept, settlement)
			continue
		}
		for _, rest := range spanOf(settlement).without(revoked) {
			part := proto.CloneOf(settlement)
			part.Offsets.FirstOffset, part.Offsets.LastOffset = rest.first, rest.last
			kept = append(kept, part)
		}
	}
	g.rangeCount += len(kept) - len(g.others)
	g.others = kept
	return true
}

func spanOf(settlement *sluicev1.Settlement) span {
	return span{settlement.Offsets.FirstOffset, settlement.Offsets.LastOffset}
}

func (s span) overlaps(other span) bool { return s.first <= other.last && other.first <= s.last }

// without returns the rest of the span on both sides.
func (s span) without(other span) (rest []span) {
	if !s.overlaps(other) {
		return []span{s}
	}
	if s.first < other.first {
		rest = append(rest, span{s.first, other.first - 1})
	}
	if s.last > other.last {
		rest = append(rest, span{other.last + 1, s.last})
	}
	return rest
}

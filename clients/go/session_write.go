package sluice

import (
	"context"
	"time"

	"github.com/sluice-mq/sluice/clients/go/sluicev1"
)

// maxUnanswered settlement requests of a stream: with more, the broker would stop reading, also what must not wait.
const maxUnanswered = 64

// poke wakes the writer.
func (s *session) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// write sends settlements and credit until the stream has ended, or the consumer has left.
func (s *session) write(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		request, wait, isLast := s.nextRequest(time.Now())
		switch {
		case isLast:
			_ = s.call.CloseSend() // It never fails: grpc-go says so.
			return
		case request != nil:
			if s.call.SendMsg(request) != nil {
				return
			}
			continue
		}
		timer.Reset(wait)
		select {
		case <-s.wake:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
	}
}

// nextRequest returns the request to send now, or the time until one is due. isLast: no request will follow.
func (s *session) nextRequest(now time.Time) (request any, wait time.Duration, isLast bool) {
	c := s.consumer
	c.mu.Lock()
	defer c.mu.Unlock()
	if !s.open {
		// The session is not open, so there is nothing to settle. A consumer that leaves now half-closes at once.
		return nil, time.Hour, c.leaving
	}
	if credit := s.wantedCredit(now); credit != s.granted || s.takenBack && c.waiting > 0 {
		s.granted, s.takenBack = credit, false
		return &sluicev1.ConsumeRequest{FlowControl: c.flowControl(credit)}, 0, false
	}
	if !c.config.KeepLeases && !now.Before(s.extendAt) {
		s.extendLeases()
		s.extendAt = now.Add(s.ackDeadline / 3)
	}
	isDue, due := s.settlementsDue(now)
	if isDue && len(s.unanswered) < maxUnanswered {
		return s.settlementRequest(), 0, false
	}
	if c.leaving && s.outbox.isEmpty() && len(s.unanswered) == 0 {
		return nil, 0, true
	}
	if isDue {
		// An answer will wake the writer.
		due = now.Add(time.Hour)
	}
	return nil, s.earliest(now, due).Sub(now), false
}

func (s *session) wantedCredit(now time.Time) int {
	c := s.consumer
	if c.closing {
		return 0
	}
	if !now.Before(s.adjustAt) {
		c.credit.adjust(now)
		s.adjustAt = now.Add(creditEvery)
	}
	if c.isStarving() {
		c.credit.grow()
	}
	return c.credit.credit
}

// settlementsDue returns whether gathered settlements are due, and otherwise when.
func (s *session) settlementsDue(now time.Time) (isDue bool, at time.Time) {
	c, o := s.consumer, &s.outbox
	switch {
	case o.isEmpty():
		return false, now.Add(time.Hour)
	case len(o.others) > 0 || len(o.acks) > 1 || c.leaving || s.isUrgent():
		return true, now
	}
	at = o.ackedAt.Add(c.config.AckInterval)
	return !now.Before(at), at
}

// isUrgent: acknowledgements of a large part of the credit wait.
func (s *session) isUrgent() bool {
	o := &s.outbox
	return o.ackCount*4 >= s.granted || o.ackBytes*4 >= s.consumer.config.MaxOutstandingBytes
}

func (s *session) settlementRequest() any {
	group := s.outbox.take()
	s.lastID++
	s.unanswered[s.lastID] = group
	if group.others == nil {
		return group.encodeAcks(s.lastID, s.lastDeliveryID)
	}
	return &sluicev1.ConsumeRequest{
		Settlements: group.others, SettlementId: s.lastID, LastDeliveryId: s.lastDeliveryID,
	}
}

// earliest time at which the writer has to wake up. While no message is held, neither credit nor leases change.
func (s *session) earliest(now, due time.Time) time.Time {
	if s.consumer.credit.held == 0 {
		return due
	}
	for _, at := range []time.Time{s.adjustAt, s.extendAt} {
		if at.Before(due) && (at != s.extendAt || !s.consumer.config.KeepLeases) {
			due = at
		}
	}
	if due.Before(now) {
		return now
	}
	return due
}

// gather takes the settlement of one delivery; nil acknowledges.
func (s *session) gather(d *Delivery, settlement *sluicev1.Settlement) *settleGroup {
	if settlement == nil {
		wasUrgent := s.isUrgent()
		group, isFirst := s.outbox.ack(d.run.partition, d.offset, len(d.Key)+len(d.Payload))
		if isFirst || !wasUrgent && s.isUrgent() {
			s.poke()
		}
		return group
	}
	group := s.outbox.add(d.run.partition, span{d.offset, d.offset}, settlement)
	if _, isNack := settlement.Outcome.(*sluicev1.Settlement_Nack_); isNack {
		if l := s.consumer.lanes.pause(d); l != nil {
			group.paused = append(group.paused, l)
		}
	}
	s.poke()
	return group
}

// extendLeases of everything that is held.
func (s *session) extendLeases() {
	c := s.consumer
	held := map[uint32][]span{}
	c.lanes.spans(held)
	for d := c.inHand; d != nil; d = d.next {
		held[d.run.partition] = append(held[d.run.partition], span{d.offset, d.offset})
	}
	for partition, spans := range held {
		for _, offsets := range mergeSpans(spans) {
			s.outbox.add(partition, offsets, extension(s.ackDeadline))
		}
	}
}

// failure is the settlement of a message whose handler failed.
func failure(err error) *sluicev1.Settlement {
	nack := &sluicev1.Settlement_Nack{Reason: fitReason(err.Error())}
	return &sluicev1.Settlement{Outcome: &sluicev1.Settlement_Nack_{Nack: nack}}
}

// within is true for deliveries in the ranges.
func within(ranges []*sluicev1.OffsetRange) func(*Delivery) bool {
	byPartition := map[uint32][]span{}
	for _, r := range ranges {
		partition := r.GetPartition()
		byPartition[partition] = append(byPartition[partition], span{r.GetFirstOffset(), r.GetLastOffset()})
	}
	for partition, spans := range byPartition {
		byPartition[partition] = mergeSpans(spans)
	}
	return func(d *Delivery) bool { return contains(byPartition[d.run.partition], d.offset) }
}

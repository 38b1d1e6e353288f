package sluice

import (
	"cmp"
	"slices"

	"github.com/sluice-mq/sluice/clients/go/sluicev1"
)

// lane has messages that are handled one after another: those of a partition or of a key.
type lane struct {
	id uint64
	// free: the messages have no order, and any number of them can be handled at once.
	free bool
	// queue of messages, in chunks as they arrived. Those before head were taken.
	queue [][]Delivery
	head  int
	// busy: a handler has one of its messages, perhaps one of an earlier session.
	busy bool
	// pauses counts failed messages that the broker has not answered yet.
	pauses int
	// listed: the lane is in the list of lanes with a message that may be handled.
	listed bool
}

func (l *lane) isEmpty() bool { return l.head == len(l.queue) }

func (l *lane) isOpen() bool { return l.free || !l.busy && l.pauses == 0 }

// lanes has the messages that were received and not handed out. Guarded by the mutex of the consumer.
type lanes struct {
	ordering sluicev1.Ordering
	// serial: a lane is busy from the time when a message is taken until it is finished. False for Receive.
	serial bool
	byID   map[uint64]*lane
	free   *lane
	ready  laneQueue
	// queuedCount of messages.
	queuedCount int
}

func newLanes() *lanes {
	return &lanes{byID: map[uint64]*lane{}, free: &lane{free: true}}
}

// add queues a run.
func (ls *lanes) add(run []Delivery) {
	for len(run) > 0 {
		l, n := ls.stretch(run)
		for i := range run[:n] {
			run[i].lane = l
		}
		l.queue = append(l.queue, run[:n])
		ls.queuedCount += n
		ls.update(l)
		run = run[n:]
	}
}

// stretch returns the lane of the first message, and the number of consecutive messages of this lane.
func (ls *lanes) stretch(run []Delivery) (*lane, int) {
	partition := uint64(run[0].run.partition)
	switch ls.ordering {
	case sluicev1.Ordering_ORDERING_NONE:
		return ls.free, len(run)
	case sluicev1.Ordering_ORDERING_KEY:
		if len(run[0].Key) > 0 {
			// As in the broker: keys that share a hash are kept in order with each other.
			return ls.lane(partition<<32 | uint64(hashKey(run[0].Key))), 1
		}
		n := 1
		for n < len(run) && len(run[n].Key) == 0 {
			n++
		}
		return ls.free, n
	default:
		return ls.lane(partition << 32), len(run)
	}
}

func (ls *lanes) lane(id uint64) *lane {
	l := ls.byID[id]
	if l == nil {
		l = &lane{id: id}
		ls.byID[id] = l
	}
	return l
}

// take returns the next message that may be handled, or nil.
func (ls *lanes) take() *Delivery {
	l := ls.ready.first()
	for l != nil && !l.isOpen() {
		// Paused since; resume enters it again.
		ls.ready.removeFirst()
		l = ls.ready.first()
	}
	if l == nil {
		return nil
	}
	piece := &l.queue[l.head]
	d := &(*piece)[0]
	*piece = (*piece)[1:]
	if len(*piece) == 0 {
		*piece = nil
		l.head++
		l.compact()
	}
	ls.queuedCount--
	if ls.serial && !l.free {
		l.busy = true
	}
	if l.isEmpty() || !l.isOpen() {
		ls.ready.removeFirst()
		ls.update(l)
	}
	return d
}

func (l *lane) compact() {
	if l.isEmpty() {
		l.queue, l.head = l.queue[:0], 0
	} else if l.head >= 64 && l.head*2 >= len(l.queue) {
		l.queue = slices.Delete(l.queue, 0, l.head)
		l.head = 0
	}
}

// finish is called when the handler of a message has returned.
func (ls *lanes) finish(d *Delivery) {
	if d.lane.free {
		return
	}
	d.lane.busy = false
	ls.update(d.lane)
}

// pause stops the lane of a failed message. It returns the lane to resume; nil if there is no order.
func (ls *lanes) pause(d *Delivery) *lane {
	if d.lane.free {
		return nil
	}
	l := ls.lane(d.lane.id)
	l.pauses++
	return l
}

func (ls *lanes) resume(l *lane) {
	l.pauses--
	ls.update(l)
}

// update lists a lane with a message that may be handled, and removes a lane without state.
func (ls *lanes) update(l *lane) {
	switch {
	case !l.isEmpty():
		if l.isOpen() && !l.listed {
			ls.ready.add(l)
		}
	case !l.free && !l.busy && l.pauses == 0 && !l.listed && ls.byID[l.id] == l:
		// There can be as many keys as messages. A lane is created again when it is needed.
		delete(ls.byID, l.id)
	}
}

// drop removes the revoked messages, or all messages, from the queues. It returns their number.
func (ls *lanes) drop(isRevoked func(*Delivery) bool) int {
	before := ls.queuedCount
	ls.ready.clear()
	for _, l := range ls.all() {
		var kept [][]Delivery
		for _, piece := range l.queue[l.head:] {
			kept = append(kept, ls.keep(piece, isRevoked)...)
		}
		l.queue, l.head = kept, 0
		ls.update(l)
	}
	return before - ls.queuedCount
}

// keep returns the messages of a chunk that remain.
func (ls *lanes) keep(piece []Delivery, isRevoked func(*Delivery) bool) (kept [][]Delivery) {
	first := 0
	for i := range piece {
		if !isRevoked(&piece[i]) {
			continue
		}
		piece[i].state = stateRevoked
		ls.queuedCount--
		if first < i {
			kept = append(kept, piece[first:i])
		}
		first = i + 1
	}
	if first < len(piece) {
		kept = append(kept, piece[first:])
	}
	return kept
}

func (ls *lanes) all() []*lane {
	all := make([]*lane, 0, len(ls.byID)+1)
	all = append(all, ls.free)
	for _, l := range ls.byID {
		all = append(all, l)
	}
	// In a fixed order, because the order of a map is random.
	slices.SortFunc(all, func(a, b *lane) int { return cmp.Compare(a.id, b.id) })
	return all
}

// spans of the queued messages, by partition.
func (ls *lanes) spans(into map[uint32][]span) {
	for _, l := range ls.all() {
		for _, piece := range l.queue[l.head:] {
			partition := piece[0].run.partition
			into[partition] = append(into[partition], span{piece[0].offset, piece[len(piece)-1].offset})
		}
	}
}

// laneQueue is a queue of lanes: first in, first out.
type laneQueue struct {
	lanes []*lane
	head  int
}

func (q *laneQueue) first() *lane {
	if q.head == len(q.lanes) {
		return nil
	}
	return q.lanes[q.head]
}

func (q *laneQueue) add(l *lane) {
	l.listed = true
	if q.head > 0 && len(q.lanes) == cap(q.lanes) {
		q.lanes = slices.Delete(q.lanes, 0, q.head)
		q.head = 0
	}
	q.lanes = append(q.lanes, l)
}

func (q *laneQueue) removeFirst() {
	q.lanes[q.head].listed = false
	q.lanes[q.head] = nil
	q.head++
	if q.head == len(q.lanes) {
		q.lanes, q.head = q.lanes[:0], 0
	}
}

func (q *laneQueue) clear() {
	for q.first() != nil {
		q.removeFirst()
	}
}

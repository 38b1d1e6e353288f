package main

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"sync"

	sluice "github.com/sluice-mq/sluice/clients/go"
)

const maxProblems = 100

type place struct {
	partition uint32
	offset    uint64
}

// books compare what comes with what was sent, and remember what was acknowledged.
type books struct {
	mu       sync.Mutex
	messages []sluice.Message
	// wanted are the indexes of messages that have not come, by key and payload, in their order.
	wanted map[string][]int
	// seen places, and whether their acknowledgement is durable.
	seen         map[place]bool
	durableCount int
	// lastOfKey is the index of the last new message of a key.
	lastOfKey map[string]int
	done      consumed
}

func newBooks(messages []sluice.Message) *books {
	b := &books{
		messages: messages, wanted: map[string][]int{}, seen: map[place]bool{}, lastOfKey: map[string]int{},
		done: consumed{Problems: []string{}},
	}
	for i := range messages {
		id := idOf(&messages[i])
		b.wanted[id] = append(b.wanted[id], i)
	}
	return b
}

func idOf(m *sluice.Message) string { return fmt.Sprintf("%d:%s%s", len(m.Key), m.Key, m.Payload) }

func (b *books) handled(d *sluice.Delivery) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := place{d.Partition(), d.Offset()}
	isDurable, isKnown := b.seen[at]
	if isDurable {
		b.problem(d, "comes again although its acknowledgement was durable")
	}
	if isKnown {
		b.done.Redelivered++
		return
	}
	b.seen[at] = false
	b.done.Received++
	b.compare(d)
}

// compare a message that comes for the first time.
func (b *books) compare(d *sluice.Delivery) {
	id := idOf(&d.Message)
	candidates := b.wanted[id]
	if len(candidates) == 0 {
		b.problem(d, "was never sent, or comes twice")
		return
	}
	at := slices.IndexFunc(candidates, func(i int) bool { return b.isSame(&b.messages[i], &d.Message) })
	if at < 0 {
		at = 0
		sent := &b.messages[candidates[0]]
		b.problem(d, fmt.Sprintf("has headers %v and time %v, not %v and %v", d.Headers, d.EventTime, sent.Headers, sent.EventTime))
	}
	index := candidates[at]
	b.wanted[id] = slices.Delete(candidates, at, at+1)
	if len(d.Key) == 0 {
		return
	}
	if last, ok := b.lastOfKey[string(d.Key)]; ok && index < last {
		b.problem(d, fmt.Sprintf("is message %d of the case, and comes after message %d of the same key", index, last))
	}
	b.lastOfKey[string(d.Key)] = index
}

func (b *books) isSame(sent, got *sluice.Message) bool {
	return bytes.Equal(sent.Key, got.Key) && bytes.Equal(sent.Payload, got.Payload) &&
		maps.Equal(sent.Headers, got.Headers) && sent.EventTime.Equal(got.EventTime)
}

func (b *books) problem(d *sluice.Delivery, text string) {
	if len(b.done.Problems) < maxProblems {
		text = fmt.Sprintf("partition %d, offset %d, key %.40q: %s", d.Partition(), d.Offset(), d.Key, text)
		b.done.Problems = append(b.done.Problems, text)
	}
}

func (b *books) durable(at place) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.seen[at] {
		b.seen[at] = true
		b.durableCount++
	}
}

func (b *books) areAllDurable() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.durableCount >= len(b.messages)
}

func (b *books) areAllHandled() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.seen) >= len(b.messages)
}

func (b *books) result() *consumed {
	b.mu.Lock()
	defer b.mu.Unlock()
	return &b.done
}

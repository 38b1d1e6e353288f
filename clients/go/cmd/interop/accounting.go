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

// accounting compares what comes with what was sent, and remembers what was acknowledged.
type accounting struct {
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

func newAccounting(messages []sluice.Message) *accounting {
	a := &accounting{
		messages: messages, wanted: map[string][]int{}, seen: map[place]bool{}, lastOfKey: map[string]int{},
		done: consumed{Problems: []string{}},
	}
	for i := range messages {
		id := idOf(&messages[i])
		a.wanted[id] = append(a.wanted[id], i)
	}
	return a
}

func idOf(m *sluice.Message) string { return fmt.Sprintf("%d:%s%s", len(m.Key), m.Key, m.Payload) }

func (a *accounting) handled(d *sluice.Delivery) {
	a.mu.Lock()
	defer a.mu.Unlock()
	at := place{d.Partition(), d.Offset()}
	isDurable, isKnown := a.seen[at]
	if isDurable {
		a.problem(d, "comes again although its acknowledgement was durable")
	}
	if isKnown {
		a.done.Redelivered++
		return
	}
	a.seen[at] = false
	a.done.Received++
	a.compare(d)
}

// compare a message that comes for the first time.
func (a *accounting) compare(d *sluice.Delivery) {
	id := idOf(&d.Message)
	candidates := a.wanted[id]
	if len(candidates) == 0 {
		a.problem(d, "was never sent, or comes twice")
		return
	}
	at := slices.IndexFunc(candidates, func(i int) bool { return a.isSame(&a.messages[i], &d.Message) })
	if at < 0 {
		at = 0
		sent := &a.messages[candidates[0]]
		a.problem(d, fmt.Sprintf("has headers %v and time %v, not %v and %v", d.Headers, d.EventTime, sent.Headers, sent.EventTime))
	}
	index := candidates[at]
	a.wanted[id] = slices.Delete(candidates, at, at+1)
	if len(d.Key) == 0 {
		return
	}
	if last, ok := a.lastOfKey[string(d.Key)]; ok && index < last {
		a.problem(d, fmt.Sprintf("is message %d of the case, and comes after message %d of the same key", index, last))
	}
	a.lastOfKey[string(d.Key)] = index
}

func (a *accounting) isSame(sent, got *sluice.Message) bool {
	return bytes.Equal(sent.Key, got.Key) && bytes.Equal(sent.Payload, got.Payload) &&
		maps.Equal(sent.Headers, got.Headers) && sent.EventTime.Equal(got.EventTime)
}

func (a *accounting) problem(d *sluice.Delivery, text string) {
	if len(a.done.Problems) < maxProblems {
		text = fmt.Sprintf("partition %d, offset %d, key %.40q: %s", d.Partition(), d.Offset(), d.Key, text)
		a.done.Problems = append(a.done.Problems, text)
	}
}

func (a *accounting) durable(at place) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.seen[at] {
		a.seen[at] = true
		a.durableCount++
	}
}

func (a *accounting) areAllDurable() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.durableCount >= len(a.messages)
}

func (a *accounting) areAllHandled() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.seen) >= len(a.messages)
}

func (a *accounting) result() *consumed {
	a.mu.Lock()
	defer a.mu.Unlock()
	return &a.done
}

package sluice

import (
	"context"
	"sync"
)

// room has the bytes in the buffer of a producer, and the queue of sends that wait for room. Guarded by the mutex of
// the producer.
type room struct {
	mu       *sync.Mutex
	maxBytes int
	used     int
	line     []*waiter
	// over: no send is admitted any more.
	over error
}

type waiter struct {
	bytes   int
	decided chan struct{}
	err     error
}

// isFull: a send has to wait. One message may exceed the limit, so that a large message is never stuck.
func (r *room) isFull() bool { return len(r.line) > 0 || r.used >= r.maxBytes }

// wait takes the bytes once it is the caller's turn. The mutex is held before and after, not while it waits.
func (r *room) wait(ctx context.Context, bytes int) error {
	w := &waiter{bytes: bytes, decided: make(chan struct{})}
	r.line = append(r.line, w)
	r.letIn()
	r.mu.Unlock()
	select {
	case <-w.decided:
		r.mu.Lock()
		return w.err
	case <-ctx.Done():
	}
	r.mu.Lock()
	select {
	case <-w.decided:
		// Both happened at once: the granted bytes are returned.
		if w.err == nil {
			r.free(bytes)
		}
	default:
		for i, other := range r.line {
			if other == w {
				r.line = append(r.line[:i], r.line[i+1:]...)
				break
			}
		}
		r.letIn()
	}
	return context.Cause(ctx)
}

func (r *room) take(bytes int) { r.used += bytes }

func (r *room) free(bytes int) {
	r.used -= bytes
	r.letIn()
}

// close fails every waiting send, because the producer has ended.
func (r *room) close(err error) {
	r.over = err
	r.letIn()
}

func (r *room) letIn() {
	for len(r.line) > 0 && (r.over != nil || r.used < r.maxBytes) {
		w := r.line[0]
		r.line = r.line[1:]
		if w.err = r.over; w.err == nil {
			r.used += w.bytes
		}
		close(w.decided)
	}
}

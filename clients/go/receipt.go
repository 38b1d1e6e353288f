package sluice

import (
	"context"

	"github.com/sluice-mq/sluice/clients/go/sluicev1"
)

// Receipt says that a message is durable, and where it is.
type Receipt struct {
	// Partition and Offset are the place of the message, if HasPlace is set.
	Partition uint32
	Offset    uint64
	// HasPlace is false for a duplicate: the broker does not say where it is.
	HasPlace bool
	// Duplicate is true if an earlier try, whose answer was lost, has stored the message. It is stored once.
	Duplicate bool
	// Durability is the durability of the message; unspecified if the client knows only from the producer's position that
	// the message is durable.
	Durability sluicev1.Durability
}

// Result is the pending receipt of a message that was handed over.
type Result struct {
	batch *batch
	index int
}

// Done is closed when Get would return at once.
func (r *Result) Done() <-chan struct{} { return r.batch.done }

// Get waits until the message is durable, or has failed, or ctx ends. If ctx ends, the client still sends the message,
// and Get may be called again. The error is an *Error, or that of ctx.
func (r *Result) Get(ctx context.Context) (Receipt, error) {
	select {
	case <-r.batch.done:
	default:
		select {
		case <-r.batch.done:
		case <-ctx.Done():
			return Receipt{}, ctx.Err()
		}
	}
	if r.batch.err != nil {
		return Receipt{}, r.batch.err
	}
	return r.batch.receipt(r.index), nil
}

// failedResult is the result of a message that was refused.
func failedResult(err error) *Result {
	b := &batch{done: make(chan struct{})}
	b.fail(err)
	return &Result{batch: b}
}

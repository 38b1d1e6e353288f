package sluice

import (
	"context"

	"github.com/sluice-mq/sluice/clients/go/sluicev1"
)

// Receipt says what became of a message: it is durable.
type Receipt struct {
	// Partition and Offset are where the message is, if HasPlace is set.
	Partition uint32
	Offset    uint64
	// HasPlace is false for a duplicate: the broker does not say where it is.
	HasPlace bool
	// Duplicate: a retry found the message stored already by a try whose answer was lost. It is stored once.
	Duplicate bool
	// Durability is what the message survives; unspecified where only the producer's position told that it is durable.
	Durability sluicev1.Durability
}

// Result is a message that was handed over, and its receipt once there is one.
type Result struct {
	batch *batch
	index int
}

// Done is closed once Get does not wait any more.
func (r *Result) Done() <-chan struct{} { return r.batch.done }

// Get waits until the message is durable, or has failed, or ctx ends. The message goes its way also if ctx ends; Get
// may be called again. The error is an *Error, or that of ctx.
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

// failedResult is for a message that was not taken.
func failedResult(err error) *Result {
	b := &batch{done: make(chan struct{})}
	b.fail(err)
	return &Result{batch: b}
}

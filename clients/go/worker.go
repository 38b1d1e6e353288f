package sluice

import (
	"context"
	"sync"
)

// worker runs handlers, one after another.
type worker struct {
	consumer *Consumer
	handle   Handler
	// cancel ends the context of the handler. Belongs to the mutex of the consumer.
	cancel context.CancelCauseFunc
}

// startWorkers starts one worker for each parallel handler.
func (c *Consumer) startWorkers(ctx context.Context, handle Handler) {
	parent, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	for range c.config.Concurrency {
		w := &worker{consumer: c, handle: handle}
		running.Add(1)
		go func() {
			defer running.Done()
			w.run(parent)
		}()
	}
	go func() {
		running.Wait()
		close(c.drained)
	}()
	go func() {
		// Does not wait for a handler that still runs when the consumer has ended.
		<-c.ended
		cancel(closedError("consumer"))
	}()
}

// run handles messages under one context until one of them is revoked. A context for each message would cost more than
// the message.
func (w *worker) run(parent context.Context) {
	ctx, cancel := context.WithCancelCause(parent)
	defer func() { cancel(nil) }()
	renew := func() context.CancelCauseFunc {
		if ctx.Err() != nil {
			ctx, cancel = context.WithCancelCause(parent)
		}
		return cancel
	}
	d := w.first(cancel)
	for d != nil {
		err := w.handle(ctx, d)
		d = w.next(d, err, renew)
	}
}

// first takes the first message; nil if the consumer has ended.
func (w *worker) first(cancel context.CancelCauseFunc) *Delivery {
	c := w.consumer
	c.mu.Lock()
	defer c.mu.Unlock()
	w.cancel = cancel
	return w.take()
}

// next settles the handled message, unless the handler did, and takes the next one; nil if the consumer has ended. If
// the message was revoked, the next one has a new context.
func (w *worker) next(d *Delivery, err error, renew func() context.CancelCauseFunc) *Delivery {
	c := w.consumer
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case d.state == stateRevoked:
		w.cancel = renew()
	case err == nil:
		c.settle(d, nil)
	default:
		c.settle(d, failure(err))
	}
	d.worker = nil
	c.lanes.finish(d)
	return w.take()
}

// take waits for a message.
func (w *worker) take() *Delivery {
	c := w.consumer
	for !c.closing && c.over == nil {
		if d := c.take(); d != nil {
			d.worker = w
			return d
		}
		c.wait()
	}
	return nil
}

// interrupt signals to the handler that its message was revoked.
func (w *worker) interrupt() { w.cancel(ErrRevoked) }

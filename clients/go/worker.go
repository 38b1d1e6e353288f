package sluice

import (
	"context"
	"sync"
)

// worker runs handlers, one after the other.
type worker struct {
	consumer *Consumer
	handle   Handler
	parent   context.Context
	// ctx is the same for all messages until one is taken back: a context for each would cost more than the message.
	ctx    context.Context
	cancel context.CancelCauseFunc
}

// startWorkers starts as many as may run at once.
func (c *Consumer) startWorkers(ctx context.Context, handle Handler) {
	parent, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	for range c.config.Concurrency {
		w := &worker{consumer: c, handle: handle, parent: parent}
		w.ctx, w.cancel = context.WithCancelCause(parent)
		running.Go(w.run)
	}
	go func() {
		running.Wait()
		close(c.drained)
	}()
	go func() {
		// Whoever still runs when the consumer has ended is not waited for.
		<-c.ended
		cancel(closedError("consumer"))
	}()
}

func (w *worker) run() {
	defer func() { w.cancel(nil) }()
	for d := w.next(nil, nil); d != nil; {
		err := w.handle(w.ctx, d)
		d = w.next(d, err)
	}
}

// next settles what was handled, unless the handler did, and takes what comes next: nil when nothing will.
func (w *worker) next(d *Delivery, err error) *Delivery {
	c := w.consumer
	c.mu.Lock()
	defer c.mu.Unlock()
	if d != nil {
		w.finish(d, err)
	}
	for !c.isClosing && c.over == nil {
		if d := c.take(); d != nil {
			d.worker = w
			return d
		}
		c.wait()
	}
	return nil
}

func (w *worker) finish(d *Delivery, err error) {
	c := w.consumer
	switch {
	case d.state == stateRevoked:
		if w.ctx.Err() != nil {
			w.ctx, w.cancel = context.WithCancelCause(w.parent)
		}
	case err == nil:
		c.settle(d, nil)
	default:
		c.settle(d, failure(err))
	}
	d.worker = nil
	c.lanes.finish(d)
}

// interrupt tells the handler that its message was taken back.
func (w *worker) interrupt() { w.cancel(ErrRevoked) }

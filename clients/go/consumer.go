package sluice

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/sluice-mq/sluice/clients/go/sluicev1"
)

// Handler handles one message. Returning nil acknowledges it; an error nacks it, with its text as reason. A handler may
// also settle the delivery itself: the first settlement counts. The context ends when the broker has taken the message
// back (its cause is then ErrRevoked), or when the drain timeout of the consumer is over.
type Handler func(ctx context.Context, d *Delivery) error

// Consumer receives the messages of one subscription: either with Run and a handler, or one by one with Receive. It
// opens a broken stream again until Close. A permanent error (the subscription was deleted, a permission is missing,
// ...)
// ends the consumer.
type Consumer struct {
	client *Client
	config ConsumerConfig
	// cancel ends the streams.
	cancel context.CancelFunc
	// ended is closed when the consumer opens no more streams.
	ended chan struct{}
	// drained is closed when all handlers have returned.
	drained chan struct{}

	mu sync.Mutex
	// changed is signalled when there may be a message to take, or when the consumer ends.
	changed sync.Cond
	// waiting takers.
	waiting int
	lanes   *lanes
	credit  *creditMeter
	// inHand is the list of taken deliveries that are not settled.
	inHand *Delivery
	// session is nil while there is none.
	session *session
	use     use
	// closing: the consumer accepts no more messages. leaving: all handlers have returned, and the settlements are
	// sent.
	closing, leaving bool
	// over is the error that ended the consumer.
	over error
}

// use is the way in which the consumer is used: by Run or by Receive, never both.
type use int

const (
	unused use = iota
	usedByRun
	usedByReceive
)

// NewConsumer returns a consumer. Run, or the first Receive, opens it.
func (c *Client) NewConsumer(config ConsumerConfig) (*Consumer, error) {
	config, err := config.complete()
	if err != nil {
		return nil, err
	}
	consumer := &Consumer{
		client:  c,
		config:  config,
		ended:   make(chan struct{}),
		drained: make(chan struct{}),
		lanes:   newLanes(),
		credit:  newCreditMeter(config.MaxOutstandingMessages, config.Concurrency, time.Now),
	}
	consumer.changed.L = &consumer.mu
	return consumer, nil
}

// Run handles messages until ctx ends or Close is called, and then closes the consumer; that is no error. It returns an
// error when the consumer ended by itself, or when handlers did not return within the drain timeout. Handlers are not
// cancelled by ctx: they may finish.
func (c *Consumer) Run(ctx context.Context, handle Handler) error {
	if err := c.begin(ctx, usedByRun); err != nil {
		return err
	}
	c.startWorkers(ctx, handle)
	select {
	case <-ctx.Done():
	case <-c.ended:
	}
	// A consumer that has ended by itself has handlers to wait for, too.
	if err := c.Close(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.over
}

// Receive waits for the next message, which the caller has to settle. After a nack, it
// returns no message of the same partition (or key) until the broker has answered. The error is that of ctx, or CLOSED
// after Close, or the error that ended the consumer.
func (c *Consumer) Receive(ctx context.Context) (*Delivery, error) {
	if err := c.begin(ctx, usedByReceive); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if d := c.take(); d != nil {
		return d, nil
	}
	stop := context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.changed.Broadcast()
	})
	defer stop()
	for {
		if c.closing || c.over != nil {
			return nil, c.closedOrOver()
		}
		if d := c.take(); d != nil {
			return d, nil
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if c.lanes.queuedCount == 0 && c.credit.isAllHeld() {
			// The session grants more: see wantedCredit.
			c.pokeSession()
		}
		c.wait()
	}
}

// Deliveries iterates over Receive until ctx ends or the consumer is closed. A consumer that ended by itself yields its
// error as the last thing.
func (c *Consumer) Deliveries(ctx context.Context) iter.Seq2[*Delivery, error] {
	return func(yield func(*Delivery, error) bool) {
		for {
			d, err := c.Receive(ctx)
			if err == nil {
				if !yield(d, nil) {
					return
				}
				continue
			}
			if ctx.Err() == nil && ReasonOf(err) != ReasonClosed {
				yield(nil, err)
			}
			return
		}
	}
}

// begin opens the consumer, once.
func (c *Consumer) begin(ctx context.Context, use use) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closing || c.over != nil:
		return c.closedOrOver()
	case c.use == use && use == usedByReceive:
		return nil
	case c.use != unused:
		return ownError(codes.FailedPrecondition, "FAILED_PRECONDITION", "the consumer is in use: one Run, or Receive")
	}
	c.use = use
	c.lanes.serial = use == usedByRun
	streams, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c.cancel = cancel
	c.client.consumers.add(c)
	go c.keepOpen(streams)
	return nil
}

func (c *Consumer) closedOrOver() error {
	if c.over != nil {
		return c.over
	}
	return closedError("consumer")
}

// take returns the next message that may be handled, or nil.
func (c *Consumer) take() *Delivery {
	if c.closing || c.over != nil {
		return nil
	}
	d := c.lanes.take()
	if d == nil {
		return nil
	}
	d.state = stateInHand
	d.next = c.inHand
	if d.next != nil {
		d.next.previous = d
	}
	c.inHand = d
	c.announce()
	return d
}

// announce wakes one taker if there is a message to take. That taker wakes the next one.
func (c *Consumer) announce() {
	if c.waiting > 0 && c.lanes.ready.first() != nil {
		c.changed.Signal()
	}
}

// isStarving: a caller of Receive waits for a message, and has received the whole credit.
func (c *Consumer) isStarving() bool {
	return c.use == usedByReceive && c.waiting > 0 && c.lanes.queuedCount == 0 && c.credit.isAllHeld()
}

func (c *Consumer) wait() {
	c.waiting++
	if c.session != nil && c.session.takenBack {
		c.session.poke()
	}
	c.changed.Wait()
	c.waiting--
}

// settle settles a delivery that is in hand. nil acknowledges it.
func (c *Consumer) settle(d *Delivery, settlement *sluicev1.Settlement) Settlement {
	switch d.state {
	case stateSettled:
		return d.settlement
	case stateRevoked:
		return lapsed
	}
	c.release(d, stateSettled)
	s := d.run.session
	if c.credit.settle() {
		s.poke()
	}
	d.settlement = Settlement{s.gather(d, settlement), d.run.partition, d.offset}
	return d.settlement
}

// release removes a delivery from the list of those in hand.
func (c *Consumer) release(d *Delivery, state deliveryState) {
	d.state = state
	if d.previous != nil {
		d.previous.next = d.next
	} else {
		c.inHand = d.next
	}
	if d.next != nil {
		d.next.previous = d.previous
	}
	d.previous, d.next = nil, nil
}

// revoke drops the messages that the broker has taken back, and signals this to their handlers.
func (c *Consumer) revoke(isRevoked func(*Delivery) bool) {
	c.credit.drop(c.lanes.drop(isRevoked))
	for d := c.inHand; d != nil; {
		next := d.next
		if isRevoked(d) {
			c.release(d, stateRevoked)
			c.credit.drop(1)
			if d.revoked != nil {
				close(d.revoked)
			}
			if d.worker != nil {
				d.worker.interrupt()
			}
		}
		d = next
	}
}

// Close takes no more messages, lets running handlers finish, sends what was settled and waits for the answers, then
// leaves: messages that were received and not begun are free for other consumers, and have not failed. So are messages
// that Receive returned and that were not settled. A handler must not call it, because it waits for handlers. When ctx
// ends first, or handlers take longer than the drain timeout, the consumer leaves without them, their contexts end, and
// Close returns an error. May be called twice.
func (c *Consumer) Close(ctx context.Context) error {
	c.mu.Lock()
	c.closing = true
	c.credit.drop(c.lanes.drop(everything))
	isBegun := c.use != unused
	if !isBegun && c.over == nil {
		// No handler begins any more.
		c.over = closedError("consumer")
		close(c.ended)
	}
	// A second Close does not wait again for handlers that were given up.
	hasHandlers := c.use == usedByRun && !c.leaving
	c.pokeSession()
	c.changed.Broadcast()
	c.mu.Unlock()
	if !isBegun {
		return nil
	}
	var err error
	if hasHandlers {
		err = c.drain(ctx)
	}
	c.leave()
	select {
	case <-c.ended:
		return err
	case <-ctx.Done():
		// It leaves first, because the broker can count attempts for a stream that is reset.
		go c.awaitLeft()
		return errors.Join(err, ctx.Err())
	case <-time.After(leaveTimeout):
		err = errors.Join(err, ownError(codes.DeadlineExceeded, "DEADLINE_EXCEEDED", "the broker does not answer"))
	}
	c.cancel()
	<-c.ended
	return err
}

// leave half-closes the stream once all settlements are answered.
func (c *Consumer) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closing, c.leaving = true, true
	if c.session == nil {
		c.cancel()
	}
	c.pokeSession()
}

func (c *Consumer) awaitLeft() {
	select {
	case <-c.ended:
	case <-time.After(leaveTimeout):
		c.cancel()
	}
}

// leaveTimeout is how long Close waits for the last answers of the broker.
const leaveTimeout = 10 * time.Second

// drain waits for handlers.
func (c *Consumer) drain(ctx context.Context) error {
	timer := time.NewTimer(c.config.DrainTimeout)
	defer timer.Stop()
	select {
	case <-c.drained:
		return nil
	case <-timer.C:
		return ownError(codes.DeadlineExceeded, "DEADLINE_EXCEEDED",
			"handlers still run after %v", c.config.DrainTimeout)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func everything(*Delivery) bool { return true }

func (c *Consumer) pokeSession() {
	if c.session != nil {
		c.session.poke()
	}
}

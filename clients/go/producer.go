package sluice

import (
	"context"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
)

// Producer sends messages to one topic: in batches, several under way at once, each message stored once and in the
// order of Send, also when streams break. If the broker refuses a batch, only the messages of this batch fail. A
// producer
// ends when it is fenced, when its topic is deleted, or when it may not publish: every Send then fails with that error.
type Producer struct {
	client *Client
	config ProducerConfig
	// cancel ends the streams.
	cancel context.CancelFunc
	// ended is closed when the goroutines of the producer have ended.
	ended chan struct{}
	// wake signals to the writer that there may be a batch to send.
	wake chan struct{}
	// allExpired ends a backoff, because no batch waits any more.
	allExpired chan struct{}
	retries    retries

	mu   sync.Mutex
	room room
	// batches are closed and not answered yet, oldest first. The first sentCount of them are on the current stream.
	batches   []*batch
	sentCount int
	// answering is the last batch whose receipt has arrived. Its results may not be reported yet.
	answering *batch
	// aloneCount of the oldest batches are sent one at a time: a stream was refused because of one of them, and the
	// error
	// does not say which.
	aloneCount int
	// open takes messages until it is full or is sent; nil if there is no such batch.
	open *batch
	// openDue: open is sent as soon as one more batch may be under way.
	openDue bool
	linger  *time.Timer
	// storedSequence is the number of the last message that is known to be stored; sentSequence that of the last one
	// sent.
	storedSequence, sentSequence uint64
	epoch                        uint64
	// renewalID is the claim_id of an OpenProducer call that the broker has to answer before a batch is sent; 0 if
	// there is none.
	renewalID      uint64
	partitionCount uint32
	closing        bool
	// over is the error that ended the producer.
	over error
	// lastFailure is the error of the last stream; nil after a batch was stored.
	lastFailure *Error
	// expiry fails expired batches. It fires at expiryAt, which is zero while the timer is not set.
	expiry   *time.Timer
	expiryAt time.Time
	// current is the stream for batches; nil while there is none.
	current *publishStream
}

// OpenProducer claims the name of the producer: from its answer on, every process that opened the same name before is
// fenced. The broker returns the last stored number. If the broker can't be reached, OpenProducer tries for 10 s, or
// for
// the RetryTimeout, or until ctx ends, and then returns the last error, with code UNAVAILABLE. An open producer retries
// itself.
func (c *Client) OpenProducer(ctx context.Context, config ProducerConfig) (*Producer, error) {
	config, err := config.complete()
	if err != nil {
		return nil, err
	}
	position, partitionCount, err := c.openPosition(ctx, &config)
	if err != nil {
		return nil, err
	}
	p := &Producer{
		client:         c,
		config:         config,
		ended:          make(chan struct{}),
		wake:           make(chan struct{}, 1),
		allExpired:     make(chan struct{}, 1),
		retries:        retries{min: config.RetryMinBackoff, max: config.RetryMaxBackoff},
		storedSequence: position.lastSequence,
		sentSequence:   position.lastSequence,
		epoch:          position.epoch,
		partitionCount: partitionCount,
	}
	streams, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p.cancel = cancel
	p.room = room{mu: &p.mu, maxBytes: config.BufferMaxBytes}
	p.linger = time.AfterFunc(time.Hour, p.lingered)
	p.linger.Stop()
	p.expiry = time.AfterFunc(time.Hour, p.expire)
	p.expiry.Stop()
	go p.run(streams)
	return p, nil
}

// LastSequence counts the messages of this producer that are durable or under way in full batches: a named
// producer continues behind them. After opening, it is the number of durable messages.
func (p *Producer) LastSequence() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := p.storedSequence
	for _, b := range p.batches {
		last += uint64(b.count)
	}
	return last
}

// Send hands a message over and returns at once; its receipt comes with the result. The message may be used again. Do
// not wait for one receipt before sending the next message: what is handed over meanwhile shares its request.
//
// While the buffer is full, Send waits for room, or for the end of ctx; with WhenFullFail the message fails with
// BUFFER_FULL. The result has every error.
func (p *Producer) Send(ctx context.Context, message *Message) *Result {
	if err := message.validate(); err != nil {
		return failedResult(err)
	}
	n := message.encodedBytes()
	bytes := n + messageOverheadBytes
	p.mu.Lock()
	defer p.mu.Unlock()
	waitedSince, err := p.makeRoom(ctx, bytes)
	if err != nil {
		return failedResult(err)
	}
	b := p.batchFor(bytes, waitedSince)
	result := b.add(message, n)
	b.bufferedBytes += bytes
	if len(b.wire) >= p.config.BatchMaxBytes || b.count >= p.config.BatchMaxMessages {
		p.closeBatch()
		p.pokeIfFree()
	} else if p.openDue {
		p.pokeIfFree()
	}
	return result
}

// batchFor returns the open batch, or a new one if the open batch has no room for this many bytes.
func (p *Producer) batchFor(bytes int, waitedSince time.Time) *batch {
	if p.open != nil && (len(p.open.wire)+bytes > p.config.BatchMaxBytes || p.isMuchOlder(waitedSince)) {
		p.closeBatch()
		p.pokeIfFree()
	}
	if p.open == nil {
		p.open = newBatch()
		if p.config.Linger > 0 {
			p.linger.Reset(p.config.Linger)
		} else {
			p.due()
		}
		p.watchExpiry(p.open, waitedSince)
	}
	return p.open
}

// messageOverheadBytes is the approximate memory of a message besides its bytes.
const messageOverheadBytes = 4

// Publish sends one message and waits until it is durable.
func (p *Producer) Publish(ctx context.Context, message *Message) (Receipt, error) {
	return p.Send(ctx, message).Get(ctx)
}

// Flush sends what waits, and returns when everything that was handed over before has its answer, or when ctx ends,
// with its error. The result of each message has its receipt or error.
func (p *Producer) Flush(ctx context.Context) error {
	p.mu.Lock()
	waiting := slices.Clone(p.batches)
	if p.answering != nil {
		waiting = append(waiting, p.answering)
	}
	if p.open != nil {
		waiting = append(waiting, p.open)
		p.due()
		p.pokeIfFree()
	}
	p.mu.Unlock()
	for _, b := range waiting {
		select {
		case <-b.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// leaveStreamTimeout is how long Close waits for the broker to end a stream on which everything is answered.
const leaveStreamTimeout = time.Second

// Close accepts no more messages, flushes, and ends the producer. If ctx ends first, messages without a receipt fail
// with
// CLOSED (the broker may have stored them), and Close returns the error of ctx. Close takes no longer than
// RetryTimeout,
// if it is set. Close is idempotent.
func (p *Producer) Close(ctx context.Context) error {
	p.mu.Lock()
	p.closing = true
	p.room.close(closedError("producer"))
	p.mu.Unlock()
	err := p.Flush(ctx)
	if err != nil {
		p.end(closedError("producer"))
	}
	p.mu.Lock()
	if p.current == nil {
		// Nothing is left to be sent, and there is no stream to be ended.
		p.cancel()
	}
	p.mu.Unlock()
	p.poke()
	timer := time.NewTimer(leaveStreamTimeout)
	defer timer.Stop()
	select {
	case <-p.ended:
	case <-timer.C:
	case <-ctx.Done():
	}
	p.cancel()
	<-p.ended
	return err
}

// makeRoom takes the bytes from the buffer. waitedSince is set if it had to wait.
func (p *Producer) makeRoom(ctx context.Context, bytes int) (waitedSince time.Time, err error) {
	if err := p.closedOrOver(); err != nil {
		return waitedSince, err
	}
	if !p.room.isFull() {
		p.room.take(bytes)
		return waitedSince, nil
	}
	if p.config.WhenFull == WhenFullFail {
		return waitedSince, ownError(codes.ResourceExhausted, ReasonBufferFull,
			"%d bytes wait for their receipt: the buffer is full", p.room.used)
	}
	// The batches that wait to be sent free the room.
	if p.open != nil {
		p.due()
		p.pokeIfFree()
	}
	waitedSince = time.Now()
	if p.config.RetryTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadlineCause(ctx, waitedSince.Add(p.config.RetryTimeout), p.timeoutError("the buffer is full"))
		defer cancel()
	}
	if err := p.room.wait(ctx, bytes); err != nil {
		return waitedSince, err
	}
	if err := p.closedOrOver(); err != nil {
		p.room.free(bytes)
		return waitedSince, err
	}
	return waitedSince, nil
}

func (p *Producer) closedOrOver() error {
	if p.over != nil {
		return p.over
	}
	if p.closing {
		return closedError("producer")
	}
	return nil
}

func (p *Producer) lingered() {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.open == nil:
	case p.openDue:
		// It waited for a free slot for so long that its messages would expire much too early with its first one.
		p.closeBatch()
	default:
		p.due()
	}
	p.pokeIfFree()
}

// due: the open batch is sent as soon as one more may be under way. Until then it takes messages, whatever the linger
// is, so that messages that wait share a request.
func (p *Producer) due() {
	if p.openDue {
		return
	}
	p.openDue = true
	if p.config.RetryTimeout > 0 {
		p.linger.Reset(p.shareWindow())
	}
}

// closeBatch closes the open batch, which then waits to be sent.
func (p *Producer) closeBatch() {
	b := p.open
	if b == nil {
		return
	}
	p.open, p.openDue = nil, false
	p.linger.Stop()
	b.close()
	p.batches = append(p.batches, b)
}

// pokeIfFree wakes the writer if one more batch may be under way. Otherwise, an answer will.
func (p *Producer) pokeIfFree() {
	if p.current != nil && p.sentCount < p.maxInFlight() {
		p.poke()
	}
}

// poke wakes the writer.
func (p *Producer) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// end ends the producer: all messages fail with the error.
func (p *Producer) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over == nil {
		p.over = err
	}
	p.room.close(p.over)
	p.closeBatch()
	for len(p.batches) > 0 {
		p.pop().fail(p.over)
	}
	p.expiry.Stop()
	p.cancel()
}

// pop removes the oldest batch, which is about to be answered.
func (p *Producer) pop() *batch {
	b := p.batches[0]
	p.batches[0] = nil
	p.batches = p.batches[1:]
	p.sentCount = max(0, p.sentCount-1)
	p.aloneCount = max(0, p.aloneCount-1)
	p.room.free(b.bufferedBytes)
	return b
}

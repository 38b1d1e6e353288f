package sluice

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
)

// Producer sends messages to one topic: in batches, several under way at once, each message stored once and in the
// order of Send, whatever breaks meanwhile. A batch that the broker refuses for good fails alone, and those behind it
// go on. A producer that is fenced, whose topic is deleted, or that may not publish is over: every Send fails with that
// error.
type Producer struct {
	client *Client
	config ProducerConfig
	ctx    context.Context
	cancel context.CancelFunc
	// ended is closed when nothing runs for this producer any more.
	ended chan struct{}
	// wake tells the writer that there may be something to write.
	wake    chan struct{}
	retries retries

	mu   sync.Mutex
	room room
	// batches are closed and not answered yet, oldest first. The first sentCount of them are on the current stream.
	batches   []*batch
	sentCount int
	// isProbing: a stream was refused without a word about which batch it was for, so that they go one by one.
	isProbing bool
	open      *batch
	linger    *time.Timer
	// lastSequence of all batches that were closed.
	lastSequence   uint64
	epoch          uint64
	partitionCount uint32
	isClosing      bool
	// over is why nothing is taken any more.
	over error
	// expiry breaks the stream when the oldest batch has been tried for too long.
	expiry *time.Timer
	// cancelStream is nil while there is no stream.
	cancelStream context.CancelFunc
}

// OpenProducer asks the broker where this producer ended, and takes over from an older process of its name. It does not
// retry: an unreachable broker is an error with code UNAVAILABLE. Later on, the producer retries by itself.
func (c *Client) OpenProducer(ctx context.Context, config ProducerConfig) (*Producer, error) {
	config, err := config.complete()
	if err != nil {
		return nil, err
	}
	epoch, lastSequence, err := c.producerPosition(ctx, config.Topic, config.ProducerID)
	if err != nil {
		return nil, err
	}
	partitionCount, err := c.partitionCount(ctx, config.Topic)
	if err != nil {
		return nil, err
	}
	p := &Producer{
		client:         c,
		config:         config,
		ended:          make(chan struct{}),
		wake:           make(chan struct{}, 1),
		retries:        retries{min: config.RetryMinBackoff, max: config.RetryMaxBackoff},
		lastSequence:   lastSequence,
		epoch:          epoch + 1,
		partitionCount: partitionCount,
	}
	p.ctx, p.cancel = context.WithCancel(context.WithoutCancel(ctx))
	p.room = room{mu: &p.mu, maxBytes: config.BufferMaxBytes}
	p.linger = time.AfterFunc(time.Hour, p.lingered)
	p.linger.Stop()
	p.expiry = time.AfterFunc(time.Hour, p.expired)
	p.expiry.Stop()
	go p.run()
	return p, nil
}

// LastSequence counts the messages of this producer that are durable or under way in full batches: a named one goes on
// behind them. Right after opening: how many of its messages are durable.
func (p *Producer) LastSequence() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lastSequence
}

// Send hands a message over and returns at once; its receipt comes with the result. The message may be used again. Do
// not wait for one receipt before sending the next message: what is handed over meanwhile shares its request.
//
// While the buffer is full, Send waits for room, or for the end of ctx; with WhenFullFail the message fails with
// BUFFER_FULL. Whatever is wrong is told by the result.
func (p *Producer) Send(ctx context.Context, message *Message) *Result {
	if err := message.check(); err != nil {
		return failedResult(err)
	}
	n := message.encodedBytes()
	bytes := n + messageOverheadBytes
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.makeRoom(ctx, bytes); err != nil {
		return failedResult(err)
	}
	if p.open != nil && len(p.open.wire)+bytes > p.config.BatchMaxBytes {
		p.closeBatch()
	}
	if p.open == nil {
		p.open = newBatch()
		if p.config.Linger > 0 {
			p.linger.Reset(p.config.Linger)
		}
	}
	b := p.open
	result := b.add(message, n)
	b.bufferedBytes += bytes
	if len(b.wire) >= p.config.BatchMaxBytes || b.count >= p.config.BatchMaxMessages || p.config.Linger < 0 {
		p.closeBatch()
	}
	return result
}

// messageOverheadBytes is about what a message takes beside its own bytes.
const messageOverheadBytes = 4

// Publish sends one message and waits until it is durable.
func (p *Producer) Publish(ctx context.Context, message *Message) (Receipt, error) {
	return p.Send(ctx, message).Get(ctx)
}

// Flush sends what waits, and returns when everything that was handed over before has its answer, or when ctx ends,
// with its error. What became of each message, its result says.
func (p *Producer) Flush(ctx context.Context) error {
	p.mu.Lock()
	p.closeBatch()
	var last *batch
	if len(p.batches) > 0 {
		last = p.batches[len(p.batches)-1]
	}
	p.mu.Unlock()
	if last == nil {
		return nil
	}
	select {
	case <-last.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close takes no more messages, flushes, and ends. When ctx ends first, what has no receipt yet fails with CLOSED (and
// may be stored nevertheless), and the error of ctx is returned. Harmless twice.
func (p *Producer) Close(ctx context.Context) error {
	p.mu.Lock()
	p.isClosing = true
	p.room.close(closedError("producer"))
	p.mu.Unlock()
	err := p.Flush(ctx)
	if err != nil {
		p.end(closedError("producer"))
	}
	p.mu.Lock()
	if p.cancelStream == nil {
		// Nothing is left to be said, and nobody there to say it to.
		p.cancel()
	}
	p.mu.Unlock()
	p.poke()
	select {
	case <-p.ended:
	case <-ctx.Done():
		p.cancel()
		<-p.ended
	}
	return err
}

// makeRoom takes the bytes from the buffer, waiting if it has to.
func (p *Producer) makeRoom(ctx context.Context, bytes int) error {
	if err := p.closedOrOver(); err != nil {
		return err
	}
	if !p.room.isFull() {
		p.room.take(bytes)
		return nil
	}
	if p.config.WhenFull == WhenFullFail {
		return ownError(codes.ResourceExhausted, ReasonBufferFull,
			"%d bytes wait for their receipt: the buffer is full", p.room.used)
	}
	// What waits to be sent makes the room.
	p.closeBatch()
	if err := p.room.wait(ctx, bytes); err != nil {
		return err
	}
	if err := p.closedOrOver(); err != nil {
		p.room.free(bytes)
		return err
	}
	return nil
}

func (p *Producer) closedOrOver() error {
	if p.over != nil {
		return p.over
	}
	if p.isClosing {
		return closedError("producer")
	}
	return nil
}

func (p *Producer) lingered() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closeBatch()
}

// closeBatch numbers the open batch and lets it go.
func (p *Producer) closeBatch() {
	b := p.open
	if b == nil {
		return
	}
	p.open = nil
	p.linger.Stop()
	b.close(p.lastSequence + 1)
	p.lastSequence = b.lastSequence()
	p.batches = append(p.batches, b)
	if len(p.batches) == 1 {
		p.watchOldest()
	}
	p.poke()
}

// poke wakes the writer.
func (p *Producer) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// end is for good: everything fails with the error.
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
	p.cancel()
}

// pop takes the oldest batch, which is about to be answered, out of the books.
func (p *Producer) pop() *batch {
	b := p.batches[0]
	p.batches[0] = nil
	p.batches = p.batches[1:]
	p.sentCount = max(0, p.sentCount-1)
	p.room.free(b.bufferedBytes)
	p.watchOldest()
	return b
}

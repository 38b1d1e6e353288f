package sluice

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/sluice-mq/sluice/clients/go/sluicev1"
)

// positionTimeout bounds one question to a broker that does not answer.
const positionTimeout = 10 * time.Second

// isRefusalFinal: trying the same batch again does not help.
func isRefusalFinal(code codes.Code) bool {
	switch code {
	case codes.Unavailable, codes.ResourceExhausted, codes.Aborted:
		return false
	}
	return true
}

// isBreakFinal: for a call or a stream as a whole, these codes also stand for a connection that broke.
func isBreakFinal(code codes.Code) bool {
	switch code {
	case codes.Canceled, codes.Unknown, codes.Internal, codes.DeadlineExceeded:
		return false
	}
	return isRefusalFinal(code)
}

// isOver: after these, nothing of this producer can be stored any more.
func isOver(err *Error) bool {
	switch err.Reason {
	case ReasonProducerFenced, ReasonTopicDeleted, ReasonAutoCreateDisabled:
		return true
	}
	return err.Code == codes.Unauthenticated || err.Code == codes.PermissionDenied
}

// recover asks the broker what it has, which answers only what is durable; fails the oldest batch if that is what was
// refused for good, and those that were tried for too long; and numbers the others so that nothing is missing. False
// when the producer is over.
func (p *Producer) recover(failure streamFailure) bool {
	if isOver(failure.err) {
		p.end(failure.err)
		return false
	}
	refused := p.refusal(failure)
	last := failure.err
	for {
		// What was refused for good is no reason to wait.
		if refused == nil && !p.pause(last) {
			p.end(closedError("producer"))
			return false
		}
		stored, err := p.position()
		switch {
		case err == nil:
			p.resume(stored, refused, last)
			return true
		case isBreakFinal(err.Code):
			p.end(err)
			return false
		}
		last = err
		p.failExpired(last)
		if refused != nil && !p.pause(last) {
			p.end(closedError("producer"))
			return false
		}
	}
}

// refusal is why the oldest batch was refused for good; nil where it was not, or where that is not known yet.
func (p *Producer) refusal(failure streamFailure) *Error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case len(p.batches) == 0:
		// The stream itself is refused, with nothing to fail for it: that may be tried again, but not at once.
		return nil
	case failure.isRefusal && isRefusalFinal(failure.err.Code):
		return failure.err
	case failure.isRefusal || !isBreakFinal(failure.err.Code) && !isUnreadable(failure):
		return nil
	case failure.sentCount > 1:
		// Any of them may be meant. One that goes alone is it.
		p.isProbing = true
		return nil
	}
	return failure.err
}

// isUnreadable: what libraries and proxies say, with no reason of the broker's, of a request that is too large.
func isUnreadable(failure streamFailure) bool {
	return failure.sentCount > 0 && failure.err.Code == codes.ResourceExhausted &&
		failure.err.Reason == reasonOfCode(codes.ResourceExhausted)
}

// pause waits before the next try, but not longer than the oldest batch may be tried. False when the producer ended.
func (p *Producer) pause(last *Error) bool {
	pause := p.retries.pause(last.RetryDelay)
	if at, ok := p.oldestExpiry(); ok {
		pause = min(pause, max(0, time.Until(at)))
	}
	return sleep(p.ctx, pause)
}

func (p *Producer) position() (uint64, *Error) {
	ctx, cancel := context.WithTimeout(p.ctx, positionTimeout)
	defer cancel()
	if at, ok := p.oldestExpiry(); ok {
		ctx, cancel = context.WithDeadline(ctx, at.Add(time.Millisecond))
		defer cancel()
	}
	epoch, stored, err := p.client.producerPosition(ctx, p.config.Topic, p.config.ProducerID)
	if err != nil {
		return 0, toError(err)
	}
	if epoch > p.epoch {
		// What somebody stored who has taken over is not ours: the broker says so to whatever is sent next.
		return p.answered(), nil
	}
	return stored, nil
}

// answered is the last message before the oldest that has no answer.
func (p *Producer) answered() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.batches) == 0 {
		return p.lastSequence
	}
	return p.batches[0].firstSequence - 1
}

// resume settles what is known now, and numbers the rest behind what the broker has.
func (p *Producer) resume(stored uint64, refused, last *Error) {
	p.mu.Lock()
	for len(p.batches) > 0 && p.batches[0].lastSequence() <= stored {
		p.pop().storedBefore()
		refused = nil
	}
	if refused != nil && len(p.batches) > 0 {
		p.pop().fail(refused)
	}
	p.mu.Unlock()
	p.failExpired(last)

	p.mu.Lock()
	defer p.mu.Unlock()
	// The first goes on where the broker stands, unless part of it is stored already.
	next := stored + 1
	if len(p.batches) > 0 {
		next = min(next, p.batches[0].firstSequence)
	}
	for _, b := range p.batches {
		b.firstSequence = next
		next += uint64(b.count)
	}
	p.lastSequence = next - 1
}

// failExpired fails what was tried for too long.
func (p *Producer) failExpired(last *Error) {
	if p.config.RetryTimeout == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.batches) > 0 && time.Since(p.batches[0].closedAt) >= p.config.RetryTimeout {
		err := ownError(codes.DeadlineExceeded, "DEADLINE_EXCEEDED",
			"not stored within %v: %s", p.config.RetryTimeout, last.Message)
		err.cause = last
		p.pop().fail(err)
	}
}

// watchOldest has the stream broken when the oldest batch expires: a broker may hold it without an answer.
func (p *Producer) watchOldest() {
	if p.config.RetryTimeout == 0 {
		return
	}
	p.expiry.Stop()
	if len(p.batches) > 0 {
		p.expiry.Reset(time.Until(p.batches[0].closedAt.Add(p.config.RetryTimeout)))
	}
}

func (p *Producer) expired() {
	p.mu.Lock()
	defer p.mu.Unlock()
	isExpired := len(p.batches) > 0 && time.Since(p.batches[0].closedAt) >= p.config.RetryTimeout
	if isExpired && p.cancelStream != nil {
		p.cancelStream()
	}
}

func (p *Producer) oldestExpiry() (time.Time, bool) {
	if p.config.RetryTimeout == 0 {
		return time.Time{}, false
	}
	closedAt, ok := p.oldest()
	return closedAt.Add(p.config.RetryTimeout), ok
}

// oldest says when the oldest batch was closed.
func (p *Producer) oldest() (closedAt time.Time, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.batches) == 0 {
		return time.Time{}, false
	}
	return p.batches[0].closedAt, true
}

// producerPosition is where a producer stands; at the beginning where the broker knows neither it nor its topic.
func (c *Client) producerPosition(ctx context.Context, topic, producerID string) (epoch, lastSequence uint64, err error) {
	position, err := c.Broker.GetProducer(ctx, &sluicev1.GetProducerRequest{Topic: topic, ProducerId: producerID})
	switch ReasonOf(err) {
	case "":
		return position.GetEpoch(), position.GetLastSequence(), err
	case ReasonProducerNotFound, ReasonTopicNotFound:
		return 0, 0, nil
	}
	return 0, 0, err
}

// partitionCount of a topic; one that is not there yet will be made with one.
func (c *Client) partitionCount(ctx context.Context, topic string) (uint32, error) {
	found, err := c.Admin.GetTopic(ctx, &sluicev1.GetTopicRequest{Name: topic})
	switch ReasonOf(err) {
	case "":
		return max(1, found.GetTopic().GetPartitionCount()), err
	case ReasonTopicNotFound:
		return 1, nil
	}
	return 0, err
}

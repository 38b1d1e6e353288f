package sluice

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/sluice-mq/sluice/clients/go/sluicev1"
)

const (
	// positionTimeout bounds one question to a broker that does not answer.
	positionTimeout = 10 * time.Second
	// maxBareRefusals: a batch that was alone under way and refused so often in a row, without a reason of the broker, is
	// refused for good.
	maxBareRefusals = 5
)

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
	case ReasonProducerFenced, ReasonSequenceReused, ReasonTopicDeleted, ReasonAutoCreateDisabled:
		return true
	}
	return err.Code == codes.Unauthenticated || err.Code == codes.PermissionDenied
}

// recover asks the broker what it has, fails the oldest batch if that is what was refused for good, and numbers the
// others behind what is stored. False when the producer is over.
//
// Numbers are only given anew in a new epoch: a copy of a batch that was sent with the old number may still lie in a
// connection that died, and would be taken for another batch. OpenProducer with the current epoch makes the new one; it
// fences every copy, and says what is stored.
func (p *Producer) recover(ctx context.Context, failure streamFailure) bool {
	if failure.err != nil && isOver(failure.err) {
		p.end(failure.err)
		return false
	}
	refused := p.refusal(failure)
	last := failure.err
	// What was refused for good, or given up here, is no reason to wait.
	mustWait := refused == nil && !failure.givenUp
	for {
		if mustWait && !p.pause(ctx, last) {
			p.end(closedError("producer"))
			return false
		}
		position, err := p.position(ctx)
		switch {
		case err == nil:
			if p.resume(position, refused, failure.err) {
				return true
			}
			refused, mustWait = nil, false
		case isBreakFinal(err.Code):
			p.end(err)
			return false
		default:
			last, mustWait = err, true
		}
	}
}

// refusal is the oldest batch, where it was refused for good; nil where it was not, or where that is not known yet.
func (p *Producer) refusal(failure streamFailure) *batch {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.batches) == 0 || failure.givenUp {
		// The stream itself is refused, with nothing to fail for it: that may be tried again, but not at once.
		return nil
	}
	p.lastFailure = failure.err
	oldest := p.batches[0]
	if failure.refusal {
		oldest.copies--
		if isRefusalFinal(failure.err.Code) {
			return oldest
		}
		return nil
	}
	if !isBareExhausted(failure.err) {
		oldest.bareRefusals = 0
		if !isBreakFinal(failure.err.Code) {
			return nil
		}
	}
	// Any of those under way may be meant. One that goes alone is it.
	p.aloneCount = max(p.aloneCount, failure.sentCount)
	switch {
	case failure.sentCount > 1:
		return nil
	case isBareExhausted(failure.err):
		oldest.bareRefusals += failure.sentCount
		if oldest.bareRefusals < maxBareRefusals {
			return nil
		}
	}
	return oldest
}

// pause waits before the next try, or until nothing waits any more for which the pause was made. False when the producer
// ended.
func (p *Producer) pause(ctx context.Context, last *Error) bool {
	pause := p.retries.pause(last.RetryDelay)
	p.client.watch.retried("a producer", p.config.Topic, last, pause)
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.allExpired:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// position asks where the producer stands, which answers only what is durable; or renews the epoch, where it has to be.
func (p *Producer) position(ctx context.Context) (producerPosition, *Error) {
	ctx, cancel := context.WithTimeout(ctx, positionTimeout)
	defer cancel()
	p.mu.Lock()
	renewalID, epoch := p.renewalID, p.epoch
	p.mu.Unlock()
	if renewalID != 0 {
		position, err := p.client.claimProducer(ctx, &p.config, renewalID, &epoch)
		if err != nil {
			return producerPosition{}, toError(err)
		}
		return position, nil
	}
	found, err := p.client.Broker.GetProducer(ctx, &sluicev1.GetProducerRequest{
		Topic: p.config.Topic, ProducerId: p.config.ProducerID,
	})
	switch {
	case err != nil:
		return producerPosition{}, p.positionError(toError(err))
	case found.GetEpoch() != epoch:
		return producerPosition{}, ownError(codes.FailedPrecondition, ReasonProducerFenced,
			"another process has opened producer %q with epoch %d: this one, with epoch %d, is over",
			p.config.ProducerID, found.GetEpoch(), epoch)
	}
	return producerPosition{epoch, found.GetLastSequence()}, nil
}

// positionError: a broker that does not know the producer any more has another topic of this name, or none.
func (p *Producer) positionError(err *Error) *Error {
	if err.Reason != ReasonProducerNotFound && err.Reason != ReasonTopicNotFound {
		return err
	}
	deleted := ownError(codes.FailedPrecondition, ReasonTopicDeleted, "topic %q was deleted: %s", p.config.Topic, err.Message)
	deleted.cause = err
	return deleted
}

// resume settles what is known now, and fails the refused batch unless it was stored or has expired meanwhile. False where
// the epoch has to be renewed before anything is sent.
func (p *Producer) resume(position producerPosition, refused *batch, why *Error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.batches) > 0 && p.batches[0].copies > 0 && p.batches[0].lastSequence() <= position.lastSequence {
		p.pop().storedBefore()
	}
	if refused != nil && len(p.batches) > 0 && p.batches[0] == refused {
		if p.pop().copies > 0 {
			p.needRenewal()
		}
		refused.fail(why)
	}
	p.storedSequence, p.sentSequence = position.lastSequence, position.lastSequence
	if position.epoch != p.epoch {
		p.epoch, p.renewalID = position.epoch, 0
		for _, b := range p.batches {
			b.copies = 0
		}
	} else if p.isNumberedAnew() {
		p.needRenewal()
	}
	return p.renewalID == 0
}

// isNumberedAnew: a batch that may still arrive with its old number would get another one.
func (p *Producer) isNumberedAnew() bool {
	next := p.storedSequence + 1
	for _, b := range p.batches {
		if b.copies > 0 && b.firstSequence != next {
			return true
		}
		next += uint64(b.count)
	}
	return false
}

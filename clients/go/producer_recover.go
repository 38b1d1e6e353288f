package sluice

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/sluice-mq/sluice/clients/go/sluicev1"
)

const (
	// positionTimeout is the deadline of one call.
	positionTimeout = 10 * time.Second
	// maxBareRefusals: a batch that was alone under way, and was refused this many times in a row without a reason of
	// the broker, is refused finally.
	maxBareRefusals = 5
)

// isRefusalFinal: a retry of the batch cannot succeed.
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

// isOver: after these errors, the broker stores no more messages of the producer.
func isOver(err *Error) bool {
	switch err.Reason {
	case ReasonProducerFenced, ReasonSequenceReused, ReasonTopicDeleted, ReasonAutoCreateDisabled:
		return true
	}
	return err.Code == codes.Unauthenticated || err.Code == codes.PermissionDenied
}

// recover asks the broker for the durable position, fails the oldest batch if it was refused finally, and continues
// behind the stored messages. False if the producer has ended.
//
// A batch gets other numbers only in a new epoch: a copy that was sent with the old numbers may still be in a dead
// connection, and the broker would take it for another batch. OpenProducer with the current epoch makes the new epoch.
// It fences every copy, and says which messages are stored.
func (p *Producer) recover(ctx context.Context, failure streamFailure) bool {
	if failure.err != nil && isOver(failure.err) {
		p.end(failure.err)
		return false
	}
	refused := p.refusal(failure)
	last := failure.err
	// A batch that was refused or given up is no reason for a backoff.
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

// refusal is the oldest batch if it was refused finally; nil if not, or if it is not known yet.
func (p *Producer) refusal(failure streamFailure) *batch {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.batches) == 0 || failure.givenUp {
		// The stream was refused without a batch under way: it is retried after a backoff.
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
	// The error can be for any batch under way. If one batch was under way, the error is for this batch.
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

// pause waits for the backoff, or until no batch waits any more. False if the producer has ended.
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

// position asks for the durable position of the producer, or renews the epoch if that is needed.
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

// positionError: if the broker does not know the producer, the topic was deleted.
func (p *Producer) positionError(err *Error) *Error {
	if err.Reason != ReasonProducerNotFound && err.Reason != ReasonTopicNotFound {
		return err
	}
	deleted := ownError(codes.FailedPrecondition, ReasonTopicDeleted, "topic %q was deleted: %s", p.config.Topic, err.Message)
	deleted.cause = err
	return deleted
}

// resume settles what is known now, and fails the refused batch unless it was stored or has expired meanwhile. False
// where
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

// isNumberedAnew: a batch of which a copy may still reach the broker would get other numbers.
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

package sluice

import (
	"time"

	"google.golang.org/grpc/codes"
)

const (
	// maxShareWindow bounds how much later than the first message of a batch its last one may be handed over, where
	// messages expire: all of a batch expire together.
	maxShareWindow = 500 * time.Millisecond
	// expiryStep bounds how often the batches are looked through.
	expiryStep = 10 * time.Millisecond
)

func (p *Producer) shareWindow() time.Duration { return min(maxShareWindow, p.config.RetryTimeout/2) }

// isMuchOlder: a message that waited this long for room expires much earlier than the open batch.
func (p *Producer) isMuchOlder(waitedSince time.Time) bool {
	return p.config.RetryTimeout > 0 && !waitedSince.IsZero() &&
		p.open.handedOverAt.Sub(waitedSince) > p.shareWindow()
}

// watchExpiry sets the timer of a new batch. Its first message may have waited for room.
func (p *Producer) watchExpiry(b *batch, waitedSince time.Time) {
	if p.config.RetryTimeout == 0 {
		return
	}
	b.handedOverAt = waitedSince
	if waitedSince.IsZero() {
		b.handedOverAt = time.Now()
	}
	p.expireAt(b.handedOverAt.Add(p.config.RetryTimeout))
}

func (p *Producer) expireAt(at time.Time) {
	if p.expiryAt.IsZero() || at.Before(p.expiryAt) {
		p.expiryAt = at
		p.expiry.Reset(time.Until(at))
	}
}

// expire fails the expired batches, whatever the broker does. A copy of such a batch may still be in a dead connection.
// Then the producer sends nothing before it has a new epoch, which fences that copy.
func (p *Producer) expire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over != nil {
		return
	}
	p.expiryAt = time.Time{}
	now := time.Now()
	p.expireOpen(now)
	kept := p.batches[:0]
	mayArrive := false
	for _, b := range p.batches {
		if p.watchAgain(b, now) {
			kept = append(kept, b)
			continue
		}
		mayArrive = mayArrive || b.copies > 0
		p.fail(b)
	}
	clear(p.batches[len(kept):])
	p.batches = kept
	p.aloneCount = min(p.aloneCount, len(kept))
	if mayArrive {
		p.needRenewal()
		p.giveUpStream()
	}
	if len(kept) == 0 && p.open == nil {
		select {
		case p.allExpired <- struct{}{}:
		default:
		}
	}
}

func (p *Producer) expireOpen(now time.Time) {
	if p.open == nil || p.watchAgain(p.open, now) {
		return
	}
	p.fail(p.open)
	p.open, p.openDue = nil, false
	p.linger.Stop()
}

// watchAgain is false if the batch has expired.
func (p *Producer) watchAgain(b *batch, now time.Time) bool {
	at := b.handedOverAt.Add(p.config.RetryTimeout)
	if !now.Before(at) {
		return false
	}
	p.expireAt(maxTime(at, now.Add(expiryStep)))
	return true
}

func (p *Producer) fail(b *batch) {
	p.room.free(b.bufferedBytes)
	why := "the broker did not answer"
	if p.lastFailure != nil {
		why = p.lastFailure.Message
	}
	b.fail(p.timeoutError(why))
}

func (p *Producer) timeoutError(why string) *Error {
	return ownError(codes.DeadlineExceeded, ReasonRetryTimeout, "not stored within %v: %s", p.config.RetryTimeout, why)
}

// needRenewal: copies that were sent must be fenced before another batch is sent.
func (p *Producer) needRenewal() {
	if p.renewalID == 0 {
		p.renewalID = newClaimID()
	}
}

// giveUpStream ends the current stream. Its later answers are ignored.
func (p *Producer) giveUpStream() {
	s := p.current
	if s == nil {
		return
	}
	p.current, p.sentCount = nil, 0
	s.givenUp = true
	s.cancel()
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

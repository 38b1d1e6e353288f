package sluice

import (
	"context"
	"errors"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sluice-mq/sluice/clients/go/sluicev1"
)

// ErrRevoked is the cause with which the context of a handler ends when the broker has taken its message back, or the
// stream that brought it broke.
var ErrRevoked = errors.New("sluice: the message was taken back: it comes again")

// run is what the messages of one run have in common.
type run struct {
	session     *session
	partition   uint32
	publishTime time.Time
	producerID  string
	attempt     uint32
	deliveryID  uint64
}

type deliveryState uint8

const (
	// The zero value: it is queued, no handler has it yet.
	_ deliveryState = iota
	// stateInHand: a handler, or the caller of Receive, has it.
	stateInHand
	// stateSettled: acknowledged, failed, or given up.
	stateSettled
	// stateRevoked: the lease is over.
	stateRevoked
)

// Delivery is a message that was received, leased to this consumer until it is settled. Its bytes may be kept; they are
// parts of what was received at once, so that keeping one keeps up to some 256 KiB.
//
// What is done first counts: a delivery that was settled, or whose lease is over, can't be settled again.
type Delivery struct {
	Message

	run    *run
	offset uint64
	lane   *lane
	state  deliveryState
	// settlement once it is settled.
	settlement Settlement
	// In the list of what is in hand.
	previous, next *Delivery
	// worker that handles it; nil where it was received by Receive.
	worker *worker
	// revoked is made by the first call of Revoked.
	revoked chan struct{}
}

// Topic is where the message is from.
func (d *Delivery) Topic() string { return d.run.session.consumer.config.Topic }

// Partition of the topic.
func (d *Delivery) Partition() uint32 { return d.run.partition }

// Offset in the partition.
func (d *Delivery) Offset() uint64 { return d.offset }

// Attempt is 1 at first, and one more after every delivery that failed.
func (d *Delivery) Attempt() uint32 { return d.run.attempt }

// PublishTime is when the broker accepted the message.
func (d *Delivery) PublishTime() time.Time { return d.run.publishTime }

// ProducerID is who wrote it; empty for an anonymous producer.
func (d *Delivery) ProducerID() string { return d.run.producerID }

// Ack settles the message as processed. It returns at once: acknowledgements are gathered and sent together. The
// settlement is true once that is durable: the message never comes again.
func (d *Delivery) Ack() Settlement { return d.settle(nil) }

// Nack settles the message as failed: it comes again after the backoff of the subscription, and whatever is behind it
// in its partition (or key) after it. After its last attempt it goes to the dead letters. Reasons are cut at 1,000
// bytes.
func (d *Delivery) Nack(reason string) Settlement {
	return d.nack(&sluicev1.Settlement_Nack{Reason: fitReason(reason)})
}

// NackAfter is Nack with a delay of its own, up to a day, instead of the backoff.
func (d *Delivery) NackAfter(delay time.Duration, reason string) Settlement {
	delay = min(max(delay, 0), maxNackDelay)
	return d.nack(&sluicev1.Settlement_Nack{Delay: durationpb.New(delay), Reason: fitReason(reason)})
}

// DeadLetter gives the message up: it goes to the dead-letter topic of the subscription at once.
func (d *Delivery) DeadLetter(reason string) Settlement {
	letter := &sluicev1.Settlement_DeadLetter{Reason: fitReason(reason)}
	return d.settle(&sluicev1.Settlement{Outcome: &sluicev1.Settlement_DeadLetter_{DeadLetter: letter}})
}

// Extend sets the end of the lease to now plus by, up to 12 hours. It settles nothing. The consumer extends leases by
// itself unless that was switched off.
func (d *Delivery) Extend(by time.Duration) Settlement {
	by = min(max(by, 0), maxExtension)
	c := d.run.session.consumer
	c.mu.Lock()
	defer c.mu.Unlock()
	if d.state != stateInHand {
		return lapsed
	}
	group := d.run.session.outbox.add(d.run.partition, span{d.offset, d.offset}, extension(by))
	d.run.session.poke()
	return Settlement{group, d.run.partition, d.offset}
}

func (d *Delivery) nack(nack *sluicev1.Settlement_Nack) Settlement {
	return d.settle(&sluicev1.Settlement{Outcome: &sluicev1.Settlement_Nack_{Nack: nack}})
}

// settle settles the message unless it is already, or its lease is over; nil acknowledges.
func (d *Delivery) settle(settlement *sluicev1.Settlement) Settlement {
	c := d.run.session.consumer
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.settle(d, settlement)
}

func extension(by time.Duration) *sluicev1.Settlement {
	extend := &sluicev1.Settlement_ExtendDeadline{By: durationpb.New(by)}
	return &sluicev1.Settlement{Outcome: &sluicev1.Settlement_Extend{Extend: extend}}
}

// Revoked is closed when the broker has taken the message back, or the stream that brought it broke: it comes again,
// and what is settled here does nothing. The context of a handler ends then, too.
func (d *Delivery) Revoked() <-chan struct{} {
	c := d.run.session.consumer
	c.mu.Lock()
	defer c.mu.Unlock()
	if d.revoked == nil {
		d.revoked = make(chan struct{})
		if d.state == stateRevoked {
			close(d.revoked)
		}
	}
	return d.revoked
}

const (
	maxReasonBytes = 1000
	maxNackDelay   = 24 * time.Hour
	maxExtension   = 12 * time.Hour
)

// fitReason makes of any text what the broker takes.
func fitReason(reason string) string {
	if !utf8.ValidString(reason) {
		reason = string([]rune(reason))
	}
	if len(reason) <= maxReasonBytes {
		return reason
	}
	end := maxReasonBytes
	for !utf8.RuneStart(reason[end]) {
		end--
	}
	return reason[:end]
}

// Settlement is an answer of the broker that comes later. It may be ignored.
type Settlement struct {
	group     *settleGroup
	partition uint32
	offset    uint64
}

// Wait is true when the settlement is durable. It is false when it did nothing, because the lease was over: the message
// comes again; or when the stream broke before the answer: then it may come again. The error is that of ctx.
func (s Settlement) Wait(ctx context.Context) (bool, error) {
	select {
	case <-s.group.done:
		return s.group.isSettled(s.partition, s.offset), nil
	default:
	}
	select {
	case <-s.group.done:
		return s.group.isSettled(s.partition, s.offset), nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// Done is closed once Wait does not wait any more.
func (s Settlement) Done() <-chan struct{} { return s.group.done }

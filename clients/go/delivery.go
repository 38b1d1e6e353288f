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

// run has the common values of the messages of one run.
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

// Delivery is a message that was received, leased to this consumer until it is settled. You may keep its bytes. They
// are parts of one received buffer, so that keeping one message keeps up to about 256 KiB.
//
// The first settlement counts: a delivery that was settled, or whose lease is over, can't be settled again.
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

// Topic is the topic of the message.
func (d *Delivery) Topic() string { return d.run.session.consumer.config.Topic }

// Partition of the topic.
func (d *Delivery) Partition() uint32 { return d.run.partition }

// Offset in the partition.
func (d *Delivery) Offset() uint64 { return d.offset }

// Attempt is 1 for the first delivery. Every failed delivery adds 1.
func (d *Delivery) Attempt() uint32 { return d.run.attempt }

// PublishTime is when the broker accepted the message.
func (d *Delivery) PublishTime() time.Time { return d.run.publishTime }

// ProducerID is the name of the producer; empty for an anonymous producer.
func (d *Delivery) ProducerID() string { return d.run.producerID }

// Ack settles the message as processed. It returns at once; the client gathers acknowledgements and sends them
// together. The settlement is true when it is durable: the broker does not deliver the message again.
func (d *Delivery) Ack() Settlement { return d.settle(nil) }

// Nack settles the message as failed: the broker delivers it again after the backoff of the subscription, and then the
// messages behind it in its partition (or key). After the last attempt, the broker dead-letters the message. The client
// cuts reasons at 1,000 bytes.
func (d *Delivery) Nack(reason string) Settlement {
	return d.nack(&sluicev1.Settlement_Nack{Reason: fitReason(reason)})
}

// NackAfter is Nack with a delay, up to a day, instead of the backoff.
func (d *Delivery) NackAfter(delay time.Duration, reason string) Settlement {
	delay = min(max(delay, 0), maxNackDelay)
	return d.nack(&sluicev1.Settlement_Nack{Delay: durationpb.New(delay), Reason: fitReason(reason)})
}

// DeadLetter moves the message to the dead-letter topic of the subscription at once.
func (d *Delivery) DeadLetter(reason string) Settlement {
	letter := &sluicev1.Settlement_DeadLetter{Reason: fitReason(reason)}
	return d.settle(&sluicev1.Settlement{Outcome: &sluicev1.Settlement_DeadLetter_{DeadLetter: letter}})
}

// Extend sets the end of the lease to now plus by, up to 12 hours. It settles nothing. The consumer extends leases
// itself unless KeepLeases is set.
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

// Revoked is closed when the broker has taken the message back, or its stream broke. The broker delivers the message
// again, and a settlement of this delivery has no effect. The context of a handler also ends.
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

// fitReason makes a text valid as a reason: UTF-8 of limited length.
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

// Settlement is the later answer of the broker. You may ignore it.
type Settlement struct {
	group     *settleGroup
	partition uint32
	offset    uint64
}

// Wait returns true when the settlement is durable. It returns false if the lease was over, and the message comes again;
// or if the stream broke before the answer, and the message may come again. The error is that of ctx.
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

// Done is closed when Wait would return at once.
func (s Settlement) Done() <-chan struct{} { return s.group.done }

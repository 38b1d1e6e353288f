package sluice

import (
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sluice-mq/sluice/clients/go/sluicev1"
)

// An acknowledgement that is late, because the network holds it, must not settle the redelivery.
func TestALateAcknowledgementDoesNotSettleTheRedelivery(t *testing.T) {
	client := connect(t, shared.Address)
	topic := makeTopic(t, client, &sluicev1.Topic{})
	makeSubscription(t, client, &sluicev1.Subscription{
		Topic: topic, AckDeadline: durationpb.New(time.Minute),
		Retry: &sluicev1.RetryPolicy{MinBackoff: durationpb.New(time.Millisecond)},
	})
	publish(t, client, topic, numbered(1, 0)...)
	proxy := startProxy(t, shared.Address)
	consumer := newConsumer(t, connect(t, proxy.Address), ConsumerConfig{Topic: topic, KeepLeases: true})
	first := receive(t, consumer)
	proxy.Hold()
	late := first.Ack()
	awaitThat(t, "the acknowledgement is held", proxy.HoldsAnything)
	endLease(t, client, topic, 0)
	again := receive(t, consumer)
	extended := again.Extend(time.Minute)
	proxy.Release("")
	equal(t, settled(t, late), false, "settled by the late acknowledgement")
	equal(t, settled(t, extended), true, "the redelivery is still leased")
	equal(t, backlog(t, client, topic), 1, "backlog")
	equal(t, settled(t, again.Ack()), true, "settled by the redelivery")
	equal(t, backlog(t, client, topic), 0, "backlog")
}

// Package sluice is the Go client of the Sluice message broker.
//
// A [Client] is one connection. Its [Client.OpenProducer] sends messages to a topic in batches, each message stored
// once, whatever breaks meanwhile; its [Client.NewConsumer] receives the messages of a subscription, in order, with
// acknowledgements, leases and credit taken care of. All other calls are the generated stubs Client.Broker and
// Client.Admin.
//
// Every error that comes from the broker, or from the way to it, is an [*Error] with the stable reason of the broker;
// [ReasonOf] reads it. Everything may be used from several goroutines at once.
package sluice

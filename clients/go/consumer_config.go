package sluice

import (
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluice-mq/sluice/clients/go/sluicev1"
)

// ConsumerConfig has the settings of a consumer. The zero value of every setting except Topic and Subscription
// means its default.
type ConsumerConfig struct {
	// Topic and Subscription name the source of the messages. The broker creates both if they do not exist.
	Topic, Subscription string
	// ConsumerID is a name that ListConsumers shows. Default: host and process.
	ConsumerID string
	// Start is where the subscription begins, if this consumer creates it. Default: Earliest.
	Start *sluicev1.StartPosition
	// MaxOutstandingMessages is the maximum of the message credit. A consumer begins with 16, or 2 × Concurrency if that is
	// more. The credit doubles while the consumer keeps up, and follows the speed of processing: the messages of a second.
	// Default 10,000.
	MaxOutstandingMessages int
	// MaxOutstandingBytes is the byte credit. Default 16 MiB.
	MaxOutstandingBytes int
	// Concurrency is the number of parallel handlers. They keep the ordering of the subscription: by partition, by key, or
	// none. Default 1.
	Concurrency int
	// AckInterval is how long the client gathers acknowledgements, to send them as ranges. Default 5 ms.
	AckInterval time.Duration
	// KeepLeases turns the extension of leases off. By default, the client extends leases each third of the lease time.
	KeepLeases bool
	// DrainTimeout is how long Close waits for handlers. Default 30 s.
	DrainTimeout time.Duration
	// RetryMinBackoff and RetryMaxBackoff bound the pause before a broken stream is opened again, which doubles, with
	// jitter. Default 50 ms and 5 s.
	RetryMinBackoff, RetryMaxBackoff time.Duration
}

// Earliest is the first message that the topic still has.
func Earliest() *sluicev1.StartPosition { return boundary(sluicev1.StartPosition_BOUNDARY_EARLIEST) }

// Latest is behind the last message.
func Latest() *sluicev1.StartPosition { return boundary(sluicev1.StartPosition_BOUNDARY_LATEST) }

// AtOffset is that offset in every partition.
func AtOffset(offset uint64) *sluicev1.StartPosition {
	return &sluicev1.StartPosition{Position: &sluicev1.StartPosition_Offset{Offset: offset}}
}

// AtTime is the first message that the broker accepted at or after this time.
func AtTime(t time.Time) *sluicev1.StartPosition {
	return &sluicev1.StartPosition{Position: &sluicev1.StartPosition_Time{Time: timestamppb.New(t)}}
}

func boundary(b sluicev1.StartPosition_Boundary) *sluicev1.StartPosition {
	return &sluicev1.StartPosition{Position: &sluicev1.StartPosition_Boundary_{Boundary: b}}
}

func (c ConsumerConfig) complete() (ConsumerConfig, error) {
	if c.Topic == "" || c.Subscription == "" {
		return c, ownError(codes.InvalidArgument, ReasonInvalidField, "a consumer needs a topic and a subscription")
	}
	numbers := map[string]int{
		"MaxOutstandingMessages": c.MaxOutstandingMessages, "MaxOutstandingBytes": c.MaxOutstandingBytes,
		"Concurrency": c.Concurrency, "AckInterval": int(c.AckInterval), "DrainTimeout": int(c.DrainTimeout),
		"RetryMinBackoff": int(c.RetryMinBackoff), "RetryMaxBackoff": int(c.RetryMaxBackoff),
	}
	if err := noneNegative(numbers); err != nil {
		return c, err
	}
	if c.ConsumerID == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "unknown"
		}
		c.ConsumerID = fmt.Sprintf("%.150s/%d", host, os.Getpid())
	}
	setDefault(&c.MaxOutstandingMessages, 10_000)
	setDefault(&c.MaxOutstandingBytes, 16<<20)
	setDefault(&c.Concurrency, 1)
	setDefault(&c.AckInterval, 5*time.Millisecond)
	setDefault(&c.DrainTimeout, 30*time.Second)
	setDefault(&c.RetryMinBackoff, 50*time.Millisecond)
	setDefault(&c.RetryMaxBackoff, 5*time.Second)
	return c, nil
}

package sluice

import (
	"crypto/rand"
	"time"

	"google.golang.org/grpc/codes"
)

// WhenFull is what Send does while the buffer of a producer is full.
type WhenFull int

const (
	// WhenFullWait waits for room. The default.
	WhenFullWait WhenFull = iota
	// WhenFullFail fails the message with BUFFER_FULL.
	WhenFullFail
)

// NoLinger sends a batch as soon as possible, even with one message.
const NoLinger = time.Duration(-1)

// ProducerConfig has the settings of a producer. The zero value of every setting except Topic means its
// default.
type ProducerConfig struct {
	// Topic receives the messages. The broker creates it with the first message if it does not exist.
	Topic string
	// Partition, if not nil, receives every message. Default: by the hash of the key; messages without a key are spread.
	Partition *uint32
	// ProducerID is the name of the producer. With a fixed name, a restarted process continues where the last process ended
	// (see LastSequence). Opening claims the name: from then on, the broker stores no messages of older processes of the
	// name. Default: a random name.
	ProducerID string
	// BatchMaxBytes: the client sends a batch when it is about this large, ... Default 64 KiB.
	BatchMaxBytes int
	// BatchMaxMessages: ... or has this many messages, ... Default 1,000.
	BatchMaxMessages int
	// Linger: ... or its first message has waited this long. Default 1 ms; NoLinger for none. While MaxInFlight batches are
	// under way, the next batch gathers messages until it is full or is sent.
	Linger time.Duration
	// MaxInFlight bounds the number of sent batches without a receipt. Default 8.
	MaxInFlight int
	// BufferMaxBytes bounds the approximate size of the messages that were handed over and have no receipt. Default 16 MiB.
	BufferMaxBytes int
	// WhenFull is what Send does while the buffer is full. Default: wait.
	WhenFull WhenFull
	// RetryTimeout is how long the client tries a message, counted from Send, whatever the broker does. Then the message
	// fails with RETRY_TIMEOUT, and later messages continue. The broker may have stored the failed message, but only
	// before every later message. Close takes no longer than this. Default: no limit.
	RetryTimeout time.Duration
	// RetryMinBackoff and RetryMaxBackoff bound the backoff, which doubles, with jitter. If the broker asks for a longer
	// delay, the client uses that delay. Default 50 ms and 5 s, or half of the RetryTimeout if that is less.
	RetryMinBackoff, RetryMaxBackoff time.Duration
}

// Partition returns a pointer to the number, for ProducerConfig.
func Partition(number uint32) *uint32 { return &number }

func (c ProducerConfig) complete() (ProducerConfig, error) {
	if c.Topic == "" {
		return c, ownError(codes.InvalidArgument, ReasonInvalidField, "a producer needs a topic")
	}
	numbers := map[string]int{
		"BatchMaxBytes": c.BatchMaxBytes, "BatchMaxMessages": c.BatchMaxMessages, "MaxInFlight": c.MaxInFlight,
		"BufferMaxBytes": c.BufferMaxBytes, "RetryTimeout": int(c.RetryTimeout),
		"RetryMinBackoff": int(c.RetryMinBackoff), "RetryMaxBackoff": int(c.RetryMaxBackoff),
	}
	if err := noneNegative(numbers); err != nil {
		return c, err
	}
	if c.ProducerID == "" {
		c.ProducerID = "producer-" + rand.Text()
	}
	setDefault(&c.BatchMaxBytes, 64<<10)
	setDefault(&c.BatchMaxMessages, 1000)
	setDefault(&c.Linger, time.Millisecond)
	setDefault(&c.MaxInFlight, 8)
	setDefault(&c.BufferMaxBytes, 16<<20)
	setDefault(&c.RetryMinBackoff, 50*time.Millisecond)
	setDefault(&c.RetryMaxBackoff, 5*time.Second)
	if c.RetryTimeout > 0 {
		c.Linger = min(c.Linger, c.RetryTimeout/2)
		c.RetryMaxBackoff = min(c.RetryMaxBackoff, c.RetryTimeout/2)
	}
	return c, nil
}

func setDefault[T comparable](setting *T, value T) {
	var zero T
	if *setting == zero {
		*setting = value
	}
}

func noneNegative(settings map[string]int) error {
	for name, value := range settings {
		if value < 0 {
			return ownError(codes.InvalidArgument, ReasonInvalidField, "%s is negative", name)
		}
	}
	return nil
}

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

// NoLinger sends a batch as soon as it can be, even with one message.
const NoLinger = time.Duration(-1)

// ProducerConfig has the settings of a producer. All but Topic may be left at their zero value, which stands for the
// default.
type ProducerConfig struct {
	// Topic is where the messages go. It is made with the first message if it is not there.
	Topic string
	// Partition, if not nil, gets every message. Default: by the hash of the key, or spread where there is none.
	Partition *uint32
	// ProducerID is who produces. With a name of its own a restarted process goes on where the last one ended (see
	// LastSequence). Opening claims the name: an older process of the name is fenced from then on, and stores nothing
	// any more. Default: a random one.
	ProducerID string
	// BatchMaxBytes: a batch goes when it is about this large. Default 64 KiB.
	BatchMaxBytes int
	// BatchMaxMessages: or has so many messages. Default 1,000.
	BatchMaxMessages int
	// Linger: or its first message has waited so long. Default 1 ms; NoLinger for none. A batch that has to wait because
	// MaxInFlight others are under way takes messages until it is full or is sent.
	Linger time.Duration
	// MaxInFlight bounds the batches that have no receipt yet. Default 8.
	MaxInFlight int
	// BufferMaxBytes bounds the messages that were handed over and have no receipt yet, about. Default 16 MiB.
	BufferMaxBytes int
	// WhenFull is what Send does while the buffer is full. Default: wait.
	WhenFull WhenFull
	// RetryTimeout is how long after Send a message may be tried; then it fails with RETRY_TIMEOUT, whatever the
	// broker does, and what is behind it goes on. A message that failed so may be stored nevertheless, but only before
	// anything behind it is. Close takes no longer, either. Default: for ever.
	RetryTimeout time.Duration
	// RetryMinBackoff and RetryMaxBackoff bound the pause before a retry, which doubles, with jitter. A delay that the
	// broker asks for counts if it is longer. Default 50 ms and 5 s, or half of the RetryTimeout if that is less.
	RetryMinBackoff, RetryMaxBackoff time.Duration
}

// Partition is the number as ProducerConfig wants it.
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

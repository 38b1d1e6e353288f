package sluice

import (
	"context"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/sluice-mq/sluice/clients/go/sluicev1"
)

// openTimeout is how long OpenProducer tries without a RetryTimeout. Each attempt has the same claim_id, so that the
// broker recognizes a claim whose answer was lost.
const openTimeout = 10 * time.Second

// producerPosition is the epoch of a producer, and the number of its last durable message.
type producerPosition struct {
	epoch, lastSequence uint64
}

// newClaimID is a random number from 1 to 2^53 - 1.
func newClaimID() uint64 { return 1 + rand.Uint64N(1<<53-1) }

// openPosition claims the name, and asks for the partitions of the topic.
func (c *Client) openPosition(ctx context.Context, config *ProducerConfig) (producerPosition, uint32, error) {
	claimID := newClaimID()
	var position producerPosition
	err := retryOpening(ctx, config, func(ctx context.Context) (err error) {
		position, err = c.claimProducer(ctx, config, claimID, nil)
		return err
	})
	if err != nil {
		return position, 0, err
	}
	var partitionCount uint32
	err = retryOpening(ctx, config, func(ctx context.Context) (err error) {
		partitionCount, err = c.partitionCount(ctx, config.Topic)
		return err
	})
	return position, partitionCount, err
}

// claimProducer raises the epoch of the producer, which fences every lower one; with currentEpoch only if that is still
// its epoch. Repeated with the same claimID, it answers the same, unless the producer was claimed again since.
func (c *Client) claimProducer(
	ctx context.Context, config *ProducerConfig, claimID uint64, currentEpoch *uint64,
) (producerPosition, error) {
	claimed, err := c.Broker.OpenProducer(ctx, &sluicev1.OpenProducerRequest{
		Topic: config.Topic, ProducerId: config.ProducerID, ClaimId: claimID, CurrentEpoch: currentEpoch,
	})
	if err != nil {
		return producerPosition{}, errorOfClaim(err)
	}
	return producerPosition{claimed.GetEpoch(), claimed.GetLastSequence()}, nil
}

// errorOfClaim explains the error of a broker that is too old.
func errorOfClaim(err error) error {
	failure := toError(err)
	if failure.Code != codes.Unimplemented {
		return failure
	}
	return &Error{
		Code: failure.Code, Reason: failure.Reason, cause: failure,
		Message: "the broker has no OpenProducer: it is too old for this client, and has to be upgraded first",
	}
}

// retryOpening repeats a call while its error may pass.
func retryOpening(ctx context.Context, config *ProducerConfig, call func(context.Context) error) error {
	timeout := openTimeout
	if config.RetryTimeout > 0 {
		timeout = config.RetryTimeout
	}
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	pauses := retries{min: config.RetryMinBackoff, max: config.RetryMaxBackoff}
	var last *Error
	for {
		err := call(limited)
		if err == nil {
			return nil
		}
		failure := toError(err)
		if ctx.Err() != nil {
			return failure
		}
		if last == nil || limited.Err() == nil {
			last = failure
		}
		if isBreakFinal(failure.Code) || !sleep(limited, pauses.pause(failure.RetryDelay)) {
			return last
		}
	}
}

// isBare: the error has no reason of the broker: something on the way says so, or the connection broke.
func isBare(err *Error) bool { return err.Reason == reasonOfCode(err.Code) }

// isBareExhausted: what proxies say of their rate limits, and libraries of a request that is too large for them.
func isBareExhausted(err *Error) bool { return err.Code == codes.ResourceExhausted && isBare(err) }

// partitionCount returns the number of partitions. A topic that does not exist yet will have one.
func (c *Client) partitionCount(ctx context.Context, topic string) (uint32, error) {
	found, err := c.Admin.GetTopic(ctx, &sluicev1.GetTopicRequest{Name: topic})
	switch ReasonOf(err) {
	case "":
		return max(1, found.GetTopic().GetPartitionCount()), err
	case ReasonTopicNotFound:
		return 1, nil
	}
	return 0, err
}

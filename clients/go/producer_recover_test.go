package sluice

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluice-mq/sluice/clients/go/sluicev1"
)

// refusingBroker refuses the first batch for good, and says what it has stored only once it is told to.
type refusingBroker struct {
	shortSighted
	silent atomic.Bool
	asked  chan struct{}
}

func (r *refusingBroker) GetProducer(
	ctx context.Context, request *sluicev1.GetProducerRequest,
) (*sluicev1.GetProducerResponse, error) {
	if r.silent.Load() {
		select {
		case r.asked <- struct{}{}:
		default:
		}
		return nil, status.Error(codes.Unavailable, "not now")
	}
	return r.shortSighted.GetProducer(ctx, request)
}

func (r *refusingBroker) PublishStream(stream publishServer) error {
	for {
		request, err := stream.Recv()
		if err != nil {
			return nil
		}
		answer := &sluicev1.PublishStreamResponse{BatchId: request.GetBatchId()}
		if r.silent.Load() {
			answer.Error = &sluicev1.PublishError{Code: uint32(codes.InvalidArgument), Message: "refused", Reason: "REFUSED"}
		} else {
			answer = r.store(request)
		}
		if err := stream.Send(answer); err != nil {
			return err
		}
	}
}

// A batch is refused for good and expires before the broker says what it has stored: the one behind it is not refused.
func TestARefusedBatchThatExpiresTakesNoOtherWithIt(t *testing.T) {
	ctx := testContext(t)
	broker := &refusingBroker{asked: make(chan struct{}, 1)}
	broker.silent.Store(true)
	client := connect(t, serveFake(t, broker, 4<<20))
	producer := openProducer(t, client, ProducerConfig{
		Topic: "t", BatchMaxMessages: 1, RetryTimeout: time.Minute,
		RetryMinBackoff: time.Millisecond, RetryMaxBackoff: 10 * time.Millisecond,
	})
	refused := producer.Send(ctx, &Message{Payload: []byte("refused")})
	await(t, "the client asks what is stored", broker.asked)
	behind := producer.Send(ctx, &Message{Payload: []byte("behind")})
	producer.mu.Lock()
	producer.batches[0].handedOverAt = time.Now().Add(-time.Hour)
	producer.expireAt(time.Now())
	producer.mu.Unlock()
	_, err := refused.Get(ctx)
	equal(t, ReasonOf(err), ReasonRetryTimeout, "reason of the one that was refused")
	broker.silent.Store(false)
	receipt, err := behind.Get(ctx)
	check(t, err)
	equal(t, receipt.Offset, 0, "offset of the one behind it")
}

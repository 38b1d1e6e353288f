package sluice

import (
	"context"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/sluice-mq/sluice/clients/go/sluicev1"
)

// Numbers of fields of PublishStreamRequest and of ProducerSequence.
const (
	topicField     = 1
	partitionField = 2
	producerField  = 3
	batchIDField   = 4

	producerIDField    = 1
	epochField         = 2
	firstSequenceField = 3
)

// streamFailure is the error that ended a stream.
type streamFailure struct {
	err *Error
	// refusal: the broker has refused the oldest batch, and the stream itself would go on.
	refusal bool
	// givenUp: the producer itself has ended the stream.
	givenUp bool
	// sentCount of batches that were under way.
	sentCount int
}

// publishStream is one PublishStream call.
type publishStream struct {
	call   grpc.ClientStream
	cancel context.CancelFunc
	// givenUp: the producer has ended it. Belongs to the mutex of the producer.
	givenUp bool
}

// run keeps a stream open until the producer is over.
func (p *Producer) run(ctx context.Context) {
	defer close(p.ended)
	defer p.cancel()
	go p.client.whenDone(p.ended, func() { p.end(closedError("client")) })
	for {
		failure := p.stream(ctx)
		p.mu.Lock()
		failure.sentCount, p.sentCount = p.sentCount, 0
		isDone := p.over != nil || p.isFinished()
		p.mu.Unlock()
		if isDone {
			p.end(closedError("producer"))
			return
		}
		if !p.recover(ctx, failure) {
			return
		}
	}
}

// isFinished: no batch waits, and no message will be added.
func (p *Producer) isFinished() bool { return p.closing && len(p.batches) == 0 && p.open == nil }

// stream writes batches and reads receipts until it breaks or a batch is refused.
func (p *Producer) stream(ctx context.Context) streamFailure {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	call, err := p.client.conn.NewStream(ctx, &sluicev1.Broker_ServiceDesc.Streams[publishStreamIndex],
		sluicev1.Broker_PublishStream_FullMethodName, passThrough)
	if err != nil {
		return streamFailure{err: toError(err)}
	}
	s := &publishStream{call: call, cancel: cancel}
	p.mu.Lock()
	if p.renewalID != 0 {
		// A batch was given up while there was no stream.
		p.mu.Unlock()
		return streamFailure{givenUp: true}
	}
	p.current = s
	p.mu.Unlock()
	written := make(chan struct{})
	go func() {
		defer close(written)
		p.write(ctx, s)
	}()
	failure := p.read(ctx, s)
	cancel()
	<-written
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.givenUp {
		return streamFailure{givenUp: true}
	}
	p.current = nil
	return failure
}

// publishStreamIndex is where PublishStream stands in the description of the service.
var publishStreamIndex = streamIndex("PublishStream")

func streamIndex(name string) int {
	for i, stream := range sluicev1.Broker_ServiceDesc.Streams {
		if stream.StreamName == name {
			return i
		}
	}
	panic("sluice: the service has no stream " + name)
}

// write sends batches in their order, as many as may be under way and as the transport accepts. The reader of the
// stream gets its error.
func (p *Producer) write(ctx context.Context, s *publishStream) {
	for {
		request, isLast := p.nextToWrite(s)
		if isLast {
			_ = s.call.CloseSend() // It never fails: grpc-go says so.
			return
		}
		if request == nil {
			select {
			case <-p.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		if s.call.SendMsg(request) != nil {
			return
		}
	}
}

// nextToWrite is nil while no batch may be sent. isLast: no batch will follow.
func (p *Producer) nextToWrite(s *publishStream) (request *encoded, isLast bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.current != s:
		return nil, false
	case p.isFinished():
		return nil, true
	case p.sentCount >= p.maxInFlight():
		return nil, false
	}
	if p.sentCount == len(p.batches) {
		if !p.openDue {
			return nil, false
		}
		p.closeBatch()
	}
	b := p.batches[p.sentCount]
	p.sentCount++
	b.firstSequence = p.sentSequence + 1
	b.copies++
	p.sentSequence = b.lastSequence()
	b.buffer.Ref()
	return &encoded{mem.BufferSlice{mem.SliceBuffer(p.requestHead(b)), b.buffer}}, false
}

func (p *Producer) maxInFlight() int {
	if p.aloneCount > 0 {
		return 1
	}
	return p.config.MaxInFlight
}

// requestHead is a request up to its messages.
func (p *Producer) requestHead(b *batch) []byte {
	head := make([]byte, 0, 64+len(p.config.Topic)+len(p.config.ProducerID))
	head = protowire.AppendTag(head, topicField, protowire.BytesType)
	head = protowire.AppendString(head, p.config.Topic)
	if p.config.Partition != nil {
		// Not appendNumber: partition 0 has to be there.
		head = protowire.AppendTag(head, partitionField, protowire.VarintType)
		head = protowire.AppendVarint(head, uint64(*p.config.Partition))
	}
	sequence := make([]byte, 0, 32+len(p.config.ProducerID))
	sequence = protowire.AppendTag(sequence, producerIDField, protowire.BytesType)
	sequence = protowire.AppendString(sequence, p.config.ProducerID)
	sequence = appendNumber(sequence, epochField, p.epoch)
	sequence = appendNumber(sequence, firstSequenceField, b.firstSequence)
	head = protowire.AppendTag(head, producerField, protowire.BytesType)
	head = protowire.AppendBytes(head, sequence)
	return appendNumber(head, batchIDField, b.firstSequence)
}

// read reads the answers, which arrive in the order of the batches.
func (p *Producer) read(ctx context.Context, s *publishStream) streamFailure {
	for {
		receipt := &sluicev1.PublishStreamResponse{}
		if err := s.call.RecvMsg(receipt); err != nil {
			if err == io.EOF {
				err = ownError(codes.Unavailable, "UNAVAILABLE", "the broker has ended the stream")
			}
			return streamFailure{err: toError(err)}
		}
		oldest := p.oldestSent(s)
		if oldest == nil || receipt.GetBatchId() != oldest.firstSequence {
			return streamFailure{err: ownError(codes.Internal, "INTERNAL", "an answer to no batch that is under way")}
		}
		if refusal := receipt.GetError(); refusal != nil {
			return streamFailure{err: errorFromPublish(refusal), refusal: true}
		}
		p.settle(ctx, s, oldest, receipt)
	}
}

// oldestSent is the batch that the next answer is for.
func (p *Producer) oldestSent(s *publishStream) *batch {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current != s || p.sentCount == 0 {
		return nil
	}
	return p.batches[0]
}

// settle reports the receipt of the oldest batch.
func (p *Producer) settle(
	ctx context.Context, s *publishStream, oldest *batch, receipt *sluicev1.PublishStreamResponse,
) {
	p.retries.worked()
	p.mu.Lock()
	if p.current != s {
		// The batch has expired meanwhile.
		p.mu.Unlock()
		return
	}
	p.answering = p.pop()
	p.storedSequence = oldest.lastSequence()
	p.lastFailure = nil
	hasMore := p.sentCount < len(p.batches) || p.openDue || p.closing
	p.mu.Unlock()
	if hasMore {
		p.poke()
	}
	if !oldest.locate(receipt, p.partitionCount) && p.config.Partition == nil {
		// The topic has got more partitions. If the broker cannot be asked, the places stay unknown.
		ctx, cancel := context.WithTimeout(ctx, positionTimeout)
		if count, err := p.client.partitionCount(ctx, p.config.Topic); err == nil {
			p.partitionCount = count
			oldest.locate(receipt, count)
		}
		cancel()
	}
	oldest.answer()
}

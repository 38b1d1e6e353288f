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

// streamFailure is why a stream is over.
type streamFailure struct {
	err *Error
	// isRefusal: the broker has refused the oldest batch, and the stream itself would go on.
	isRefusal bool
	// sentCount of batches that were under way.
	sentCount int
}

// run keeps a stream open until the producer is over.
func (p *Producer) run() {
	defer close(p.ended)
	defer p.cancel()
	defer context.AfterFunc(p.client.open, func() { p.end(closedError("client")) })()
	for {
		failure := p.stream()
		p.mu.Lock()
		failure.sentCount, p.sentCount = p.sentCount, 0
		isDone := p.over != nil || p.isClosing && len(p.batches) == 0 && p.open == nil
		p.mu.Unlock()
		if isDone {
			p.end(closedError("producer"))
			return
		}
		if !p.recover(failure) {
			return
		}
	}
}

// stream writes batches and reads receipts until it breaks or a batch is refused.
func (p *Producer) stream() streamFailure {
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel()
	call, err := p.client.conn.NewStream(ctx, &sluicev1.Broker_ServiceDesc.Streams[publishStreamIndex],
		sluicev1.Broker_PublishStream_FullMethodName, passThrough)
	if err != nil {
		return streamFailure{err: toError(err)}
	}
	p.mu.Lock()
	p.cancelStream = cancel
	p.watchOldest()
	p.mu.Unlock()
	written := make(chan struct{})
	go func() {
		defer close(written)
		p.write(ctx, call)
	}()
	failure := p.read(call)
	cancel()
	<-written
	p.mu.Lock()
	p.cancelStream = nil
	p.mu.Unlock()
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

// write sends what may be under way, in order, as the transport takes it. What is wrong with the stream is heard by who
// reads it.
func (p *Producer) write(ctx context.Context, call grpc.ClientStream) {
	for {
		request, isLast := p.nextToWrite()
		if isLast {
			_ = call.CloseSend() // It never fails: grpc-go says so.
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
		if call.SendMsg(request) != nil {
			return
		}
	}
}

// nextToWrite is nil while nothing may be written; isLast once nothing will be any more.
func (p *Producer) nextToWrite() (request *encoded, isLast bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.isClosing && len(p.batches) == 0 && p.open == nil {
		return nil, true
	}
	most := p.config.MaxInFlight
	if p.isProbing {
		most = 1
	}
	if p.sentCount >= min(len(p.batches), most) {
		return nil, false
	}
	b := p.batches[p.sentCount]
	p.sentCount++
	b.buffer.Ref()
	return &encoded{mem.BufferSlice{mem.SliceBuffer(p.requestHead(b)), b.buffer}}, false
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

// read takes the answers, which come in the order of the batches.
func (p *Producer) read(call grpc.ClientStream) streamFailure {
	for {
		receipt := &sluicev1.PublishStreamResponse{}
		if err := call.RecvMsg(receipt); err != nil {
			if err == io.EOF {
				err = ownError(codes.Unavailable, "UNAVAILABLE", "the broker has ended the stream")
			}
			return streamFailure{err: toError(err)}
		}
		p.mu.Lock()
		var oldest *batch
		if p.sentCount > 0 {
			oldest = p.batches[0]
		}
		p.mu.Unlock()
		if oldest == nil || receipt.GetBatchId() != oldest.firstSequence {
			return streamFailure{err: ownError(codes.Internal, "INTERNAL", "an answer to no batch that is under way")}
		}
		if refusal := receipt.GetError(); refusal != nil {
			return streamFailure{err: errorFromPublish(refusal), isRefusal: true}
		}
		p.settle(oldest, receipt)
	}
}

// settle gives the receipt to those who wait for the oldest batch.
func (p *Producer) settle(oldest *batch, receipt *sluicev1.PublishStreamResponse) {
	p.retries.worked()
	if !oldest.locate(receipt, p.partitionCount) && p.config.Partition == nil {
		// The topic has more partitions than it had. Where they can't be asked for, the places stay unknown.
		if count, err := p.client.partitionCount(p.ctx, p.config.Topic); err == nil {
			p.partitionCount = count
			oldest.locate(receipt, count)
		}
	}
	p.mu.Lock()
	p.pop()
	p.isProbing = false
	hasMore := p.sentCount < len(p.batches) || p.isClosing
	p.mu.Unlock()
	oldest.answer()
	if hasMore {
		p.poke()
	}
}

package sluice

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/sluice-mq/sluice/clients/go/sluicev1"
)

// shortSighted is a broker behind a server that can't read large requests, and says so with a bare RESOURCE_EXHAUSTED.
// On its first stream it loses what came before such a request.
type shortSighted struct {
	sluicev1.UnimplementedAdminServer
	sluicev1.UnimplementedBrokerServer

	mu    sync.Mutex
	epoch uint64
	// forgetful: the first stream answers nothing.
	forgetful bool
	streams   int
	stored    []string
}

func startShortSighted(t *testing.T, maxRequestBytes int) (*shortSighted, string) {
	t.Helper()
	s := &shortSighted{forgetful: true}
	return s, serveFake(t, s, maxRequestBytes)
}

// fake is a broker that a test has written.
type fake interface {
	sluicev1.AdminServer
	sluicev1.BrokerServer
}

// serveFake serves it on a free port.
func serveFake(t *testing.T, f fake, maxRequestBytes int) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	server := grpc.NewServer(grpc.MaxRecvMsgSize(maxRequestBytes))
	sluicev1.RegisterAdminServer(server, f)
	sluicev1.RegisterBrokerServer(server, f)
	go func() { _ = server.Serve(listener) }() // It ends with Stop.
	t.Cleanup(server.Stop)
	return listener.Addr().String()
}

func (s *shortSighted) GetTopic(context.Context, *sluicev1.GetTopicRequest) (*sluicev1.GetTopicResponse, error) {
	return &sluicev1.GetTopicResponse{Topic: &sluicev1.Topic{PartitionCount: 1}}, nil
}

func (s *shortSighted) GetProducer(context.Context, *sluicev1.GetProducerRequest) (*sluicev1.GetProducerResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &sluicev1.GetProducerResponse{Epoch: s.epoch, LastSequence: uint64(len(s.stored))}, nil
}

func (s *shortSighted) OpenProducer(context.Context, *sluicev1.OpenProducerRequest) (*sluicev1.OpenProducerResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.epoch++
	return &sluicev1.OpenProducerResponse{Epoch: s.epoch, LastSequence: uint64(len(s.stored))}, nil
}

func (s *shortSighted) PublishStream(
	stream grpc.BidiStreamingServer[sluicev1.PublishStreamRequest, sluicev1.PublishStreamResponse],
) error {
	s.mu.Lock()
	s.streams++
	isFirst := s.streams == 1 && s.forgetful
	s.mu.Unlock()
	for {
		request, err := stream.Recv()
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case isFirst:
			continue
		}
		if err := stream.Send(s.store(request)); err != nil {
			return err
		}
	}
}

func (s *shortSighted) store(request *sluicev1.PublishStreamRequest) *sluicev1.PublishStreamResponse {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := uint64(len(s.stored))
	for _, message := range request.GetMessages() {
		s.stored = append(s.stored, string(message.GetPayload()))
	}
	offsets := &sluicev1.OffsetRange{FirstOffset: first, LastOffset: uint64(len(s.stored)) - 1}
	return &sluicev1.PublishStreamResponse{BatchId: request.GetBatchId(), Ranges: []*sluicev1.OffsetRange{offsets}}
}

// sendSomeThatAreLarge has each message as a batch of its own, and checks that only the large ones fail.
func sendSomeThatAreLarge(t *testing.T, client *Client, topic string, largeBytes int, want Reason) {
	t.Helper()
	ctx := testContext(t)
	producer := openProducer(t, client, ProducerConfig{
		Topic: topic, BatchMaxMessages: 1, RetryMinBackoff: time.Millisecond, BufferMaxBytes: 64 << 20,
	})
	isLarge := map[int]bool{2: true, 5: true, 6: true}
	results := make([]*Result, 10)
	for i := range results {
		message := &Message{Payload: fmt.Append(nil, i)}
		if isLarge[i] {
			message.Payload = make([]byte, largeBytes)
		}
		results[i] = producer.Send(ctx, message)
	}
	for i, result := range results {
		_, err := result.Get(ctx)
		if isLarge[i] {
			equal(t, ReasonOf(err), want, fmt.Sprintf("reason of message %d", i))
		} else if err != nil {
			t.Errorf("message %d: %v", i, err)
		}
	}
}

func TestWhatCanNotBeReadFailsAlone(t *testing.T) {
	server, address := startShortSighted(t, 1<<20)
	sendSomeThatAreLarge(t, connect(t, address), "t", 2<<20, "RESOURCE_EXHAUSTED")
	equal(t, fmt.Sprint(server.stored), "[0 1 3 4 7 8 9]", "stored")
}

// The broker gives a reason, but not which of the batches under way it could not read.
func TestWhatTheBrokerDoesNotReadFailsAlone(t *testing.T) {
	client := connect(t, shared.Address)
	topic := makeTopic(t, client, &sluicev1.Topic{})
	sendSomeThatAreLarge(t, client, topic, 6<<20, ReasonRequestTooLarge)
	equal(t, len(readLog(t, client, topic)), 7, "messages in the log")
}

package sluice

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/sluice-mq/sluice/clients/go/sluicev1"
)

// Client is one connection to a broker. It connects with its first call, and reconnects when the connection is lost.
type Client struct {
	// Broker is the generated stub of the calls of producers and consumers. Its errors are *Error.
	Broker sluicev1.BrokerClient
	// Admin is the generated stub of the calls that manage topics and subscriptions and inspect the broker. Its errors are
	// *Error.
	Admin sluicev1.AdminClient

	conn  *grpc.ClientConn
	watch *connectionWatch
	// done is closed by finish, when Close is called.
	done   <-chan struct{}
	finish context.CancelFunc
	// consumers that have begun and not ended.
	consumers consumerSet
}

// consumerSet is the consumers of a client.
type consumerSet struct {
	mu  sync.Mutex
	all map[*Consumer]struct{}
}

func (s *consumerSet) add(c *Consumer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[*Consumer]struct{}{}
	}
	s.all[c] = struct{}{}
}

func (s *consumerSet) remove(c *Consumer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, c)
}

func (s *consumerSet) list() []*Consumer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.all))
}

// Connect returns a client of the broker at target: "host:port", or any name that gRPC resolves. It fails only if an
// option is invalid. If the broker can't be reached, the calls fail with UNAVAILABLE.
func Connect(target string, options ...Option) (*Client, error) {
	settings := defaultSettings()
	for _, option := range options {
		if err := option(&settings); err != nil {
			return nil, err
		}
	}
	watch := newConnectionWatch(target, &settings)
	conn, err := grpc.NewClient(target, settings.dialOptions(watch)...)
	if err != nil {
		return nil, err
	}
	c := &Client{Broker: sluicev1.NewBrokerClient(conn), Admin: sluicev1.NewAdminClient(conn), conn: conn, watch: watch}
	open, finish := context.WithCancel(context.Background())
	c.done, c.finish = open.Done(), finish
	if watch.isNeeded() {
		watch.reconnect = conn.Connect
		go watch.follow(open, conn)
	}
	return c, nil
}

// Close ends the connection and every call under way. Close producers and consumers first: those that are still open
// end with CLOSED. Open consumers close their streams normally if the broker answers within a second.
func (c *Client) Close() error {
	c.finish()
	c.leaveConsumers()
	c.watch.closed()
	return c.conn.Close()
}

// whenDone calls end when the client is closed, unless ended is closed first.
func (c *Client) whenDone(ended <-chan struct{}, end func()) {
	select {
	case <-c.done:
		end()
	case <-ended:
	}
}

func (c *Client) leaveConsumers() {
	timer := time.NewTimer(leaveStreamTimeout)
	defer timer.Stop()
	for _, consumer := range c.consumers.list() {
		select {
		case <-consumer.ended:
		case <-timer.C:
			return
		}
	}
}

// Pings detect a connection that died without a reset after these times, also while no call is open.
var keepAlive = keepalive.ClientParameters{Time: 20 * time.Second, Timeout: 10 * time.Second, PermitWithoutStream: true}

func (s *settings) dialOptions(watch *connectionWatch) []grpc.DialOption {
	dial := append(watch.dialOptions(s.transport),
		grpc.WithInitialWindowSize(s.windowBytes),
		grpc.WithInitialConnWindowSize(s.windowBytes),
		grpc.WithReadBufferSize(ioBufferBytes),
		grpc.WithWriteBufferSize(ioBufferBytes),
		grpc.WithConnectParams(watch.connectParams()),
		grpc.WithKeepaliveParams(keepAlive),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(s.maxReceiveBytes)),
		grpc.WithChainUnaryInterceptor(unaryErrors),
		grpc.WithChainStreamInterceptor(streamErrors),
	)
	if s.metadata != nil {
		dial = append(dial, grpc.WithPerRPCCredentials(s.metadata))
	}
	return append(dial, s.dial...)
}

// unaryErrors converts the errors of unary calls into *Error.
func unaryErrors(
	ctx context.Context, method string, request, response any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker,
	options ...grpc.CallOption,
) error {
	return errorFrom(invoke(ctx, method, request, response, conn, options...))
}

// streamErrors converts the errors of streams into *Error.
func streamErrors(
	ctx context.Context, description *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer,
	options ...grpc.CallOption,
) (grpc.ClientStream, error) {
	stream, err := open(ctx, description, conn, method, options...)
	if err != nil {
		return nil, errorFrom(err)
	}
	return typedStream{stream}, nil
}

type typedStream struct{ grpc.ClientStream }

func (s typedStream) SendMsg(m any) error { return errorFrom(s.ClientStream.SendMsg(m)) }

func (s typedStream) RecvMsg(m any) error { return errorFrom(s.ClientStream.RecvMsg(m)) }

package sluice

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
)

// dialOptions have gRPC's connections watched, if there is a callback or a logger. A proxy of the environment, and sockets that are files,
// are dialed by gRPC itself.
func (w *connectionWatch) dialOptions(transport credentials.TransportCredentials) []grpc.DialOption {
	if !w.isNeeded() {
		return []grpc.DialOption{grpc.WithTransportCredentials(transport)}
	}
	options := []grpc.DialOption{grpc.WithTransportCredentials(&watchedCredentials{transport, w})}
	proxy, err := http.ProxyFromEnvironment(&http.Request{URL: &url.URL{Scheme: "https", Host: w.target}})
	if proxy == nil && err == nil && !w.onSocketFile {
		options = append(options, grpc.WithContextDialer(w.dial))
	}
	return options
}

func (w *connectionWatch) dial(ctx context.Context, address string) (net.Conn, error) {
	w.connecting()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil && !errors.Is(err, context.Canceled) {
		w.failed(w.causeOfDial(err), err)
	}
	return conn, err
}

func (w *connectionWatch) causeOfDial(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("nothing listens at %s", w.target)
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Sprintf("%s does not answer", w.target)
	}
	return fmt.Sprintf("%s cannot be reached: %v", w.target, err)
}

func (w *connectionWatch) causeOfHandshake(err error) string {
	var notTLS tls.RecordHeaderError
	var notTrusted *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	switch {
	case errors.As(err, &notTLS), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return fmt.Sprintf("the broker at %s does not speak TLS", w.target)
	case errors.As(err, &notTrusted), errors.As(err, &authority), errors.As(err, &name):
		return fmt.Sprintf("the broker's certificate is not trusted: %v", err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("%s does not answer", w.target)
	}
	return fmt.Sprintf("no TLS with %s: %v", w.target, err)
}

// follow reports resolver failures, which no connection shows, until the client is closed.
func (w *connectionWatch) follow(ctx context.Context, conn *grpc.ClientConn) {
	for state := conn.GetState(); conn.WaitForStateChange(ctx, state); {
		state = conn.GetState()
		if state == connectivity.TransientFailure && !w.isWaiting() {
			w.unresolved()
		}
	}
}

// watchedCredentials are those of the client, and report how the handshake ended.
type watchedCredentials struct {
	credentials.TransportCredentials
	watch *connectionWatch
}

func (c *watchedCredentials) ClientHandshake(
	ctx context.Context, authority string, raw net.Conn,
) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := c.TransportCredentials.ClientHandshake(ctx, authority, raw)
	if err != nil {
		if ctx.Err() != nil {
			err = errors.Join(ctx.Err(), err)
		}
		c.watch.failed(c.watch.causeOfHandshake(err), err)
		return nil, nil, err
	}
	return &watchedConn{Conn: conn, watch: c.watch}, info, nil
}

func (c *watchedCredentials) Clone() credentials.TransportCredentials {
	return &watchedCredentials{c.TransportCredentials.Clone(), c.watch}
}

// watchedConn reports when the broker's first frame has come, and how the connection ended.
type watchedConn struct {
	net.Conn
	watch *connectionWatch

	// head is the beginning of what came, until it is known to be HTTP/2. Only the reader of the connection uses it and ready.
	head    []byte
	ready   bool
	readAt  atomic.Int64
	closing sync.Once
	mu      sync.Mutex
	err     error
	first   []byte
}

const (
	settingsFrame = 4
	frameHead     = 9
	tlsAlert      = 21
)

func (c *watchedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.readAt.Store(time.Now().UnixNano())
		if !c.ready {
			c.read(b[:n])
		}
	}
	if err != nil {
		c.mu.Lock()
		if c.err == nil && !errors.Is(err, net.ErrClosed) {
			c.err = err
		}
		c.mu.Unlock()
	}
	return n, err
}

// read looks whether the first frame is that of HTTP/2.
func (c *watchedConn) read(b []byte) {
	c.head = append(c.head, b[:min(len(b), frameHead)]...)
	c.mu.Lock()
	c.first = c.head
	c.mu.Unlock()
	if len(c.head) > 3 && c.head[0] == 0 && c.head[3] == settingsFrame {
		c.ready, c.head = true, nil
		c.watch.ready(c)
	}
}

func (c *watchedConn) Close() error {
	c.closing.Do(func() {
		c.mu.Lock()
		first, err := c.first, c.err
		c.mu.Unlock()
		if len(first) > 3 && first[0] == 0 && first[3] == settingsFrame {
			c.watch.lost(c, c.whyLost(err), err)
		} else {
			c.watch.failed(c.watch.causeOfSilence(first, err), err)
		}
	})
	return c.Conn.Close()
}

func (c *watchedConn) whyLost(err error) string {
	switch silent := time.Since(time.Unix(0, c.readAt.Load())); {
	case err == io.EOF:
		return "the broker closed it"
	case err != nil:
		return err.Error()
	case silent >= keepAlive.Time:
		return fmt.Sprintf("no answer for %v", silent.Round(time.Second))
	}
	return "it was ended"
}

// causeOfSilence says why a connection ended on which no frame of HTTP/2 came.
func (w *connectionWatch) causeOfSilence(first []byte, err error) string {
	switch {
	case !w.hasTLS && len(first) > 1 && first[0] == tlsAlert && first[1] == 3, !w.hasTLS && len(first) == 0 && err != nil:
		return fmt.Sprintf("the broker at %s speaks TLS, and this client does not", w.target)
	case len(first) == 0:
		return fmt.Sprintf("%s does not answer", w.target)
	}
	return fmt.Sprintf("what listens at %s does not speak HTTP/2", w.target)
}

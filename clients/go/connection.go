package sluice

import (
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// ConnectionStatus is the state of the connection of a client.
type ConnectionStatus string

const (
	// ConnectionConnecting: the client makes a connection.
	ConnectionConnecting ConnectionStatus = "connecting"
	// ConnectionReady: the broker answers.
	ConnectionReady ConnectionStatus = "ready"
	// ConnectionWaiting: the last attempt failed, or the connection was lost.
	ConnectionWaiting ConnectionStatus = "waiting"
	// ConnectionClosed: the client is closed.
	ConnectionClosed ConnectionStatus = "closed"
)

// ConnectionState is a change of the connection. Producers and consumers retry in every state except closed.
type ConnectionState struct {
	Status ConnectionStatus
	// Cause says why the client waits, for example "nothing listens at localhost:7070".
	Cause string
	// Err is the error of the attempt; nil if there is none.
	Err error
	// NextAttempt is the approximate time of the next attempt.
	NextAttempt time.Time
}

// WithConnectionState calls report with each change of the connection, in order, from one goroutine at a time. The
// first
// attempt that fails is reported at once.
func WithConnectionState(report func(ConnectionState)) Option {
	return func(s *settings) error {
		s.report = report
		return nil
	}
}

// WithLogger logs changes of the connection, and what producers and consumers retry.
func WithLogger(logger *slog.Logger) Option {
	return func(s *settings) error {
		s.logger = logger
		return nil
	}
}

// The backoff of the connection is shorter than the default of gRPC, which grows to two minutes, so that the client
// soon finds a broker that is back.
const (
	connectMinBackoff = 50 * time.Millisecond
	connectMaxBackoff = time.Second
	connectMultiplier = 1.6
	connectJitter     = 0.2
	connectTimeout    = 5 * time.Second
)

// connectionWatch watches the connections of a client, and reports their state.
type connectionWatch struct {
	// target is host:port, for people.
	target string
	hasTLS bool
	// onSocketFile: the target is a socket in the file system.
	onSocketFile bool
	report       func(ConnectionState)
	logger       *slog.Logger
	// backoff has no jitter of its own, so that the next attempt is known; each client has another one.
	backoff backoff.Config

	mu   sync.Mutex
	last ConnectionStatus
	// failures in a row.
	failures int
	// current is the last connection on which the broker answered.
	current *watchedConn
	// queue is not reported yet. reporting: reportAll runs.
	queue     []ConnectionState
	reporting bool
	// reconnect is called when the connection was lost.
	reconnect func()
}

func newConnectionWatch(target string, s *settings) *connectionWatch {
	jitter := 1 + connectJitter*(2*rand.Float64()-1)
	scaled := func(d time.Duration) time.Duration { return time.Duration(float64(d) * jitter) }
	isFile := strings.HasPrefix(target, "unix")
	if i := strings.LastIndex(target, "/"); i >= 0 && !isFile {
		target = target[i+1:] // dns:///host:port
	}
	return &connectionWatch{
		target:       target,
		hasTLS:       s.transport.Info().SecurityProtocol == "tls",
		onSocketFile: isFile,
		report:       s.report,
		logger:       s.logger,
		backoff: backoff.Config{
			BaseDelay: scaled(connectMinBackoff), Multiplier: connectMultiplier, MaxDelay: scaled(connectMaxBackoff),
		},
	}
}

func (w *connectionWatch) connectParams() grpc.ConnectParams {
	return grpc.ConnectParams{Backoff: w.backoff, MinConnectTimeout: connectTimeout}
}

// isNeeded: there is a callback or a logger.
func (w *connectionWatch) isNeeded() bool { return w.report != nil || w.logger != nil }

func (w *connectionWatch) connecting() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tell(ConnectionState{Status: ConnectionConnecting})
}

func (w *connectionWatch) ready(c *watchedConn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failures, w.current = 0, c
	w.tell(ConnectionState{Status: ConnectionReady})
}

// failed is called when an attempt to connect has failed.
func (w *connectionWatch) failed(cause string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	pause := float64(w.backoff.BaseDelay) * math.Pow(w.backoff.Multiplier, float64(w.failures))
	w.failures++
	next := time.Now().Add(time.Duration(min(pause, float64(w.backoff.MaxDelay))))
	w.tell(ConnectionState{Status: ConnectionWaiting, Cause: cause, Err: err, NextAttempt: next})
}

// lost is called when a connection on which the broker answered has ended. It ignores a connection that a newer one has
// replaced.
func (w *connectionWatch) lost(c *watchedConn, why string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.current != c || w.last == ConnectionClosed {
		return
	}
	w.current = nil
	cause := fmt.Sprintf("the connection to %s was lost: %s", w.target, why)
	w.tell(ConnectionState{Status: ConnectionWaiting, Cause: cause, Err: err, NextAttempt: time.Now()})
	go w.reconnect()
}

func (w *connectionWatch) closed() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tell(ConnectionState{Status: ConnectionClosed})
}

func (w *connectionWatch) isWaiting() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last == ConnectionWaiting
}

// unresolved is called when gRPC failed without an attempt to connect.
func (w *connectionWatch) unresolved() {
	host, _, err := net.SplitHostPort(w.target)
	if err != nil {
		host = w.target
	}
	if _, err := net.LookupHost(host); err != nil {
		w.failed(fmt.Sprintf("the name %s cannot be resolved", host), err)
		return
	}
	w.failed(fmt.Sprintf("%s cannot be reached", w.target), nil)
}

// tell reports the state if it has changed.
func (w *connectionWatch) tell(state ConnectionState) {
	if w.last == ConnectionClosed || w.last == state.Status && state.Status != ConnectionWaiting {
		return
	}
	w.last = state.Status
	w.queue = append(w.queue, state)
	if !w.reporting {
		w.reporting = true
		go w.reportAll()
	}
}

func (w *connectionWatch) reportAll() {
	for {
		w.mu.Lock()
		if len(w.queue) == 0 {
			w.reporting = false
			w.mu.Unlock()
			return
		}
		state := w.queue[0]
		w.queue = w.queue[1:]
		w.mu.Unlock()
		w.log(state)
		if w.report != nil {
			w.report(state)
		}
	}
}

func (w *connectionWatch) log(state ConnectionState) {
	if w.logger == nil {
		return
	}
	switch state.Status {
	case ConnectionConnecting:
		w.logger.Debug("connecting to the broker", "target", w.target)
	case ConnectionReady:
		w.logger.Info("connected to the broker", "target", w.target)
	case ConnectionWaiting:
		w.logger.Warn("no connection to the broker", "target", w.target, "cause", state.Cause, "error", state.Err,
			"nextAttempt", state.NextAttempt)
	case ConnectionClosed:
		w.logger.Info("the client is closed", "target", w.target)
	}
}

// retried logs that a producer or a consumer tries again, unless the connection is the cause, whose state is reported.
func (w *connectionWatch) retried(what, topic string, err *Error, pause time.Duration) {
	if w.logger != nil && !(isBare(err) && w.isWaiting()) {
		w.logger.Warn(what+" tries again", "topic", topic, "error", err, "in", pause)
	}
}

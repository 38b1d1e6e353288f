package sluice

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/sluice-mq/sluice/clients/go/sluicev1"
)

// stateLog gathers what was reported.
type stateLog struct {
	states chan ConnectionState
}

func watchStates() (*stateLog, Option) {
	l := &stateLog{states: make(chan ConnectionState, 10_000)}
	return l, WithConnectionState(func(state ConnectionState) { l.states <- state })
}

// until waits for a state, with this in its cause.
func (l *stateLog) until(t *testing.T, status ConnectionStatus, cause string) ConnectionState {
	t.Helper()
	for {
		state := await(t, string(status)+": "+cause, l.states)
		if state.Status == status && strings.Contains(state.Cause, cause) {
			return state
		}
	}
}

// first is the first state that is not connecting.
func (l *stateLog) first(t *testing.T) ConnectionState {
	t.Helper()
	equal(t, await(t, "the first state", l.states).Status, ConnectionConnecting, "the first state")
	return await(t, "the second state", l.states)
}

func TestAConsumerReportsThatNothingListensAndGoesOn(t *testing.T) {
	broker := ownBroker(t)
	direct := connect(t, broker.Address)
	topic := makeTopic(t, direct, &sluicev1.Topic{})
	publish(t, direct, topic, numbered(1, 0)...)
	broker.Kill()

	log, option := watchStates()
	var text lockedBuffer
	client, err := Connect(broker.Address, option, WithLogger(slog.New(slog.NewTextHandler(&text, nil))))
	check(t, err)
	handled := make(chan struct{}, 1)
	consumer := newConsumer(t, client, ConsumerConfig{Topic: topic})
	stop := runConsumer(t, consumer, func(context.Context, *Delivery) error {
		handled <- struct{}{}
		return nil
	})
	state := log.first(t)
	equal(t, state.Status, ConnectionWaiting, "the second state")
	equal(t, state.Cause, "nothing listens at "+broker.Address, "cause")
	if in := time.Until(state.NextAttempt); state.Err == nil || in > time.Second {
		t.Fatalf("error %v, next attempt in %v", state.Err, in)
	}
	log.until(t, ConnectionConnecting, "")
	check(t, broker.Restart())
	log.until(t, ConnectionReady, "")
	await(t, "a message", handled)
	broker.Kill()
	log.until(t, ConnectionWaiting, "the connection to "+broker.Address+" was lost")
	log.until(t, ConnectionWaiting, "nothing listens")
	stop()
	check(t, client.Close())
	log.until(t, ConnectionClosed, "")
	for _, want := range []string{"nothing listens at", "connected to the broker", "was lost"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is not in the log:\n%s", want, text.String())
		}
	}
}

type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

func TestTheCauseOfAFailureIsNamed(t *testing.T) {
	ca := makeCertificate(t, "authority", nil)
	stranger := makeCertificate(t, "stranger", nil)
	secured := tlsProxy(t, ca, makeCertificate(t, "broker.test", ca))
	silent, err := net.Listen("tcp", "127.0.0.1:0") // It accepts nothing; the kernel connects all the same.
	check(t, err)
	t.Cleanup(func() { check(t, silent.Close()) })
	other, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	t.Cleanup(func() { check(t, other.Close()) })
	go func() {
		for {
			conn, err := other.Accept()
			if err != nil {
				return // Closed, at the end of the test.
			}
			_, _ = conn.Write([]byte("220 mail.test ESMTP\r\n")) // The client says what it makes of it.
		}
	}()
	withTLS := func(ca *certificate) Option { return WithTLS(TLS{CA: ca.cert, ServerName: "broker.test"}) }
	plain := WithMetadata(nil)
	for name, c := range map[string]struct {
		target string
		option Option
		cause  string
	}{
		"TLS to a plain broker":  {shared.Address, withTLS(ca), "the broker at " + shared.Address + " does not speak TLS"},
		"plain to a TLS broker":  {secured, plain, "the broker at " + secured + " speaks TLS, and this client does not"},
		"a stranger's authority": {secured, withTLS(stranger), "the broker's certificate is not trusted: "},
		"no such name":           {"no-such-host.invalid:7070", plain, "the name no-such-host.invalid cannot be resolved"},
		"silence":                {silent.Addr().String(), plain, silent.Addr().String() + " does not answer"},
		"something else":         {other.Addr().String(), plain, "what listens at " + other.Addr().String() + " does not speak HTTP/2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log, option := watchStates()
			client := connect(t, c.target, c.option, option)
			consumer := newConsumer(t, client, ConsumerConfig{Topic: "t"})
			stop := runConsumer(t, consumer, func(context.Context, *Delivery) error { return nil })
			for {
				state := await(t, "a failure", log.states)
				if state.Status == ConnectionConnecting {
					continue
				}
				if state.Status != ConnectionWaiting || !strings.HasPrefix(state.Cause, c.cause) {
					t.Fatalf("%+v, want %q", state, c.cause)
				}
				break
			}
			if name != "no such name" { // A name is asked for again after half a minute.
				log.until(t, ConnectionWaiting, "") // It goes on trying.
			}
			stop()
		})
	}
}

// With the defaults, a connection that swallows everything is noticed within 40 s by producers, consumers and calls that
// wait; and all of them go on over a new one.
func TestADeadConnectionIsNoticed(t *testing.T) {
	t.Parallel()
	const limit = 40*time.Second + 20*time.Second // The promise, and slack for a busy machine.
	direct := connect(t, shared.Address)
	topic := makeTopic(t, direct, &sluicev1.Topic{})
	proxy := startProxy(t, shared.Address)
	log, option := watchStates()
	client := connect(t, proxy.Address, option)
	producer := openProducer(t, client, ProducerConfig{Topic: topic})
	handled := make(chan string, 10)
	consumer := newConsumer(t, client, ConsumerConfig{Topic: topic})
	stop := runConsumer(t, consumer, func(_ context.Context, d *Delivery) error {
		handled <- string(d.Payload)
		return nil
	})
	_, err := producer.Publish(t.Context(), &Message{Payload: []byte("before")})
	check(t, err)
	equal(t, await(t, "the first", handled), "before", "handled")
	proxy.Swallow()
	began := time.Now()
	called := make(chan error, 1)
	go func() {
		_, err := client.Admin.GetServerInfo(t.Context(), &sluicev1.GetServerInfoRequest{})
		called <- err
	}()
	sent := producer.Send(t.Context(), &Message{Payload: []byte("after")})
	timeout := time.After(limit)
	isLost, isHandled, isAnswered := false, false, false
	for !isLost || !isHandled || !isAnswered {
		select {
		case state := <-log.states:
			if state.Status == ConnectionWaiting && !isLost {
				t.Logf("%s, after %v", state.Cause, time.Since(began))
				isLost = true
			}
		case payload := <-handled:
			// The first comes again: its acknowledgement was swallowed.
			isHandled = isHandled || payload == "after"
		case err := <-called:
			equal(t, toError(err).Code, codes.Unavailable, "code of the call")
			isAnswered = true
		case <-timeout:
			t.Fatalf("after %v: noticed %v, handled %v, call failed %v", limit, isLost, isHandled, isAnswered)
		}
	}
	_, err = sent.Get(testContext(t))
	check(t, err)
	stop()
}

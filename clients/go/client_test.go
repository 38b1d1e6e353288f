package sluice

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/sluice-mq/sluice/clients/go/sluicev1"
)

// certificate of a name, signed by the parent or by itself.
type certificate struct {
	pair      tls.Certificate
	cert, key []byte
}

func makeCertificate(t *testing.T, name string, parent *certificate) *certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: parent == nil, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	issuer, issuerKey := template, any(key)
	if parent != nil {
		issuer, issuerKey = parent.pair.Leaf, parent.pair.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, &key.PublicKey, issuerKey)
	check(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	check(t, err)
	c := &certificate{
		cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}
	c.pair, err = tls.X509KeyPair(c.cert, c.key)
	check(t, err)
	return c
}

// tlsProxy stands before the shared broker, and asks for a certificate of the client.
func tlsProxy(t *testing.T, ca, server *certificate) string {
	t.Helper()
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(ca.cert)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{server.pair}, ClientCAs: clients,
		ClientAuth: tls.RequireAndVerifyClientCert, NextProtos: []string{"h2"},
	})
	check(t, err)
	t.Cleanup(func() { check(t, listener.Close()) })
	go func() {
		for {
			inside, err := listener.Accept()
			if err != nil {
				return // Closed, at the end of the test.
			}
			go relay(inside, shared.Address)
		}
	}()
	return listener.Addr().String()
}

func relay(inside net.Conn, address string) {
	outside, err := net.Dial("tcp", address)
	if err != nil {
		_ = inside.Close() // The client hears of it.
		return
	}
	go pipe(outside, inside)
	pipe(inside, outside)
}

// pipe ends both when one ends.
func pipe(to, from net.Conn) {
	_, _ = io.Copy(to, from) // However it ends.
	_ = to.Close()
	_ = from.Close()
}

func TestTLS(t *testing.T) {
	ctx := testContext(t)
	ca := makeCertificate(t, "authority", nil)
	address := tlsProxy(t, ca, makeCertificate(t, "broker.test", ca))
	own := makeCertificate(t, "client", ca)
	good := TLS{CA: ca.cert, Cert: own.cert, Key: own.key, ServerName: "broker.test"}
	topic := makeTopic(t, connect(t, shared.Address), &sluicev1.Topic{})

	client := connect(t, address, WithTLS(good))
	producer := openProducer(t, client, ProducerConfig{Topic: topic})
	_, err := producer.Publish(ctx, &Message{Payload: []byte("secret")})
	check(t, err)
	consumer := newConsumer(t, client, ConsumerConfig{Topic: topic})
	equal(t, string(receive(t, consumer).Payload), "secret", "payload")

	stranger := makeCertificate(t, "stranger", nil)
	for what, bad := range map[string]TLS{
		"the wrong name":            {CA: ca.cert, Cert: own.cert, Key: own.key, ServerName: "other.test"},
		"the wrong authority":       {CA: stranger.cert, Cert: own.cert, Key: own.key, ServerName: "broker.test"},
		"no certificate of its own": {CA: ca.cert, ServerName: "broker.test"},
	} {
		client := connect(t, address, WithTLS(bad))
		_, err := client.Admin.GetServerInfo(ctx, &sluicev1.GetServerInfoRequest{})
		equal(t, toError(err).Code, codes.Unavailable, "code with "+what)
	}
	if _, err := Connect(address, WithTLS(TLS{CA: []byte("no certificate")})); err == nil {
		t.Fatal("a CA that is none was taken")
	}
	if _, err := Connect(address, WithTLS(TLS{Cert: own.cert, Key: stranger.key})); err == nil {
		t.Fatal("a key of another certificate was taken")
	}
}

// guard is a server that tells the metadata of each call, and answers nothing.
type guard struct {
	sluicev1.UnimplementedAdminServer
	sluicev1.UnimplementedBrokerServer
	calls chan metadata.MD
}

func (g *guard) GetServerInfo(ctx context.Context, _ *sluicev1.GetServerInfoRequest) (*sluicev1.GetServerInfoResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	g.calls <- md
	<-ctx.Done()
	return nil, ctx.Err()
}

func (g *guard) Consume(stream grpc.BidiStreamingServer[sluicev1.ConsumeRequest, sluicev1.ConsumeResponse]) error {
	md, _ := metadata.FromIncomingContext(stream.Context())
	g.calls <- md
	return g.UnimplementedBrokerServer.Consume(stream)
}

func startGuard(t *testing.T) (*guard, string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	g := &guard{calls: make(chan metadata.MD, 10)}
	server := grpc.NewServer()
	sluicev1.RegisterAdminServer(server, g)
	sluicev1.RegisterBrokerServer(server, g)
	go func() { _ = server.Serve(listener) }() // It ends with Stop.
	t.Cleanup(server.Stop)
	return g, listener.Addr().String()
}

func TestTokensAndMetadata(t *testing.T) {
	g, address := startGuard(t)
	tokens := 0
	client := connect(t, address, WithMetadata(map[string]string{"tenant": "blue"}),
		WithTokenSource(func(context.Context) (string, error) {
			tokens++
			if tokens == 3 {
				return "", errors.New("the keys are lost")
			}
			return []string{"", "first", "second"}[tokens], nil
		}))
	for _, want := range []string{"Bearer first", "Bearer second"} {
		ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(testContext(t), "trace", "on"))
		ended := make(chan error, 1)
		go func() {
			_, err := client.Admin.GetServerInfo(ctx, &sluicev1.GetServerInfoRequest{})
			ended <- err
		}()
		md := await(t, "the call", g.calls)
		equal(t, md.Get("authorization")[0]+md.Get("tenant")[0]+md.Get("trace")[0], want+"blueon", "metadata")
		cancel()
		equal(t, toError(await(t, "the end", ended)).Code, codes.Canceled, "code of a call that was cancelled")
	}
	_, err := client.Admin.GetServerInfo(testContext(t), &sluicev1.GetServerInfoRequest{})
	equal(t, toError(err).Code, codes.Unavailable, "code without a token")

	// Streams have it, too; and who can't do what is asked ends the consumer.
	client = connect(t, address, WithToken("fixed"))
	consumer := newConsumer(t, client, ConsumerConfig{Topic: "t"})
	_, err = consumer.Receive(testContext(t))
	equal(t, toError(err).Code, codes.Unimplemented, "code of a stream")
	equal(t, await(t, "the stream", g.calls).Get("authorization")[0], "Bearer fixed", "token of a stream")
}

func TestDeadlines(t *testing.T) {
	_, address := startGuard(t)
	client := connect(t, address)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err := client.Admin.GetServerInfo(ctx, &sluicev1.GetServerInfoRequest{})
	equal(t, toError(err).Code, codes.DeadlineExceeded, "code")
	_, err = client.OpenProducer(ctx, ProducerConfig{Topic: "t"})
	equal(t, toError(err).Code, codes.DeadlineExceeded, "code of opening a producer")
}

func TestOptionsThatCanNotBeUsed(t *testing.T) {
	if _, err := Connect("127.0.0.1:1", WithWindowBytes(1000)); err == nil {
		t.Fatal("a window of 1,000 bytes was taken")
	}
	client := connect(t, shared.Address, WithWindowBytes(1<<16), WithMaxReceiveBytes(1<<20), WithDialOptions(grpc.WithUserAgent("tests")))
	_, err := client.Admin.GetServerInfo(testContext(t), &sluicev1.GetServerInfoRequest{})
	check(t, err)
}

package sluice

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

const (
	defaultWindowBytes     = 1 << 20
	defaultMaxReceiveBytes = 64 << 20
	ioBufferBytes          = 128 << 10
)

// Option is a setting of [Connect].
type Option func(*settings) error

type settings struct {
	transport       credentials.TransportCredentials
	metadata        *callMetadata
	windowBytes     int32
	maxReceiveBytes int
	dial            []grpc.DialOption
	report          func(ConnectionState)
	logger          *slog.Logger
}

func defaultSettings() settings {
	return settings{
		transport:       insecure.NewCredentials(),
		windowBytes:     defaultWindowBytes,
		maxReceiveBytes: defaultMaxReceiveBytes,
	}
}

// TLS configures the security of the connection. The zero value is TLS with the authorities that the system trusts.
type TLS struct {
	// CA has the certificates (PEM) of the authorities to trust instead of those of the system.
	CA []byte
	// Cert and Key are the certificate and key of the client (PEM), if the broker asks for them.
	Cert, Key []byte
	// ServerName is the name in the broker's certificate, if it differs from the name of the target.
	ServerName string
}

// WithTLS connects over TLS. The default is plaintext.
func WithTLS(t TLS) Option {
	return func(s *settings) error {
		config := &tls.Config{ServerName: t.ServerName, MinVersion: tls.VersionTLS12}
		if len(t.CA) > 0 {
			config.RootCAs = x509.NewCertPool()
			if !config.RootCAs.AppendCertsFromPEM(t.CA) {
				return errors.New("sluice: TLS.CA holds no certificate in PEM")
			}
		}
		if len(t.Cert) > 0 || len(t.Key) > 0 {
			pair, err := tls.X509KeyPair(t.Cert, t.Key)
			if err != nil {
				return fmt.Errorf("sluice: TLS.Cert and TLS.Key: %w", err)
			}
			config.Certificates = []tls.Certificate{pair}
		}
		s.transport = credentials.NewTLS(config)
		return nil
	}
}

// WithTLSConfig connects over TLS with this configuration.
func WithTLSConfig(config *tls.Config) Option {
	return func(s *settings) error {
		s.transport = credentials.NewTLS(config.Clone())
		return nil
	}
}

// WithToken sends "authorization: Bearer <token>" with every call. Without TLS the token is not encrypted.
func WithToken(token string) Option {
	return WithMetadata(map[string]string{"authorization": "Bearer " + token})
}

// WithTokenSource calls the function for the token of every call; a stream is one call. If the function fails, the
// call fails with UNAVAILABLE, so that producers and consumers try again.
func WithTokenSource(token func(ctx context.Context) (string, error)) Option {
	return func(s *settings) error {
		s.ensureMetadata().token = token
		return nil
	}
}

// WithMetadata sends this metadata with every call, in addition to that of other options.
func WithMetadata(pairs map[string]string) Option {
	return func(s *settings) error {
		metadata := s.ensureMetadata()
		for name, value := range pairs {
			metadata.fixed[name] = value
		}
		return nil
	}
}

// WithWindowBytes sets the HTTP/2 receive window of every stream and of the connection: how many bytes
// the broker may have under way to this client. The 64 KiB of gRPC limit a stream to 64 KiB for each round trip.
// Default 1 MiB.
func WithWindowBytes(bytes int32) Option {
	return func(s *settings) error {
		if bytes < 64<<10 {
			return fmt.Errorf("sluice: a window of %d bytes is below the 64 KiB that HTTP/2 begins with", bytes)
		}
		s.windowBytes = bytes
		return nil
	}
}

// WithMaxReceiveBytes sets the largest response that the client accepts. Default 64 MiB.
func WithMaxReceiveBytes(bytes int) Option {
	return func(s *settings) error {
		s.maxReceiveBytes = bytes
		return nil
	}
}

// WithDialOptions passes options to gRPC: interceptors, a stats handler for tracing, a dialer. They override the
// options that this package sets.
func WithDialOptions(options ...grpc.DialOption) Option {
	return func(s *settings) error {
		s.dial = append(s.dial, options...)
		return nil
	}
}

func (s *settings) ensureMetadata() *callMetadata {
	if s.metadata == nil {
		s.metadata = &callMetadata{fixed: map[string]string{}}
	}
	return s.metadata
}

// callMetadata is the metadata of every call.
type callMetadata struct {
	fixed map[string]string
	token func(context.Context) (string, error)
}

func (m *callMetadata) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	if m.token == nil {
		return m.fixed, nil
	}
	token, err := m.token(ctx)
	if err != nil {
		return nil, status.Errorf(codes.Unavailable, "no token: %v", err)
	}
	all := map[string]string{"authorization": "Bearer " + token}
	for name, value := range m.fixed {
		all[name] = value
	}
	return all, nil
}

// RequireTransportSecurity is false: a broker on the same host, or behind a sidecar, may use plaintext.
func (m *callMetadata) RequireTransportSecurity() bool { return false }

package sluice

import (
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluice-mq/sluice/clients/go/sluicev1"
)

// FieldViolation is what was wrong with one field of a request.
type FieldViolation struct {
	// Field is a path: "settlements[2].offsets".
	Field string
	// Description says what is wrong with it.
	Description string
}

// Error is a call, a batch or a message that failed: by the broker's decision, or because it could not be reached.
type Error struct {
	// Code is the gRPC status code.
	Code codes.Code
	// Reason is the stable name of the error: programs decide by it. Where the broker gave none (it did not answer, or
	// something on the way did) it is the name of the code: "UNAVAILABLE".
	Reason Reason
	// Message is for people.
	Message string
	// Metadata holds facts for programs.
	Metadata map[string]string
	// FieldViolations says what was wrong with the request, field by field.
	FieldViolations []FieldViolation
	// RetryDelay is how long the broker asks to wait before the next try; zero where it does not say.
	RetryDelay time.Duration
	// PublishFailure is how much of the stream of a failed Publish is durable; nil for other calls.
	PublishFailure *sluicev1.PublishFailure

	cause error
}

// Error is the text, with its reason.
func (e *Error) Error() string {
	return fmt.Sprintf("sluice: %s: %s", e.Reason, e.Message)
}

// Unwrap gives what the call returned, or nil.
func (e *Error) Unwrap() error { return e.cause }

// GRPCStatus is the status, as [status.FromError] finds it.
func (e *Error) GRPCStatus() *status.Status {
	if e.cause != nil {
		if cause, ok := status.FromError(e.cause); ok {
			return cause
		}
	}
	return status.New(e.Code, e.Message)
}

// ReasonOf is the reason of the *Error in err's chain, or "" where there is none.
func ReasonOf(err error) Reason {
	var typed *Error
	if errors.As(err, &typed) {
		return typed.Reason
	}
	return ""
}

// errorFrom makes an *Error of what a call returned. The end of a stream stays io.EOF.
func errorFrom(err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return toError(err)
}

func toError(err error) *Error {
	var known *Error
	if errors.As(err, &known) {
		return known
	}
	st, ok := status.FromError(err)
	if !ok {
		st = status.FromContextError(err)
	}
	typed := &Error{Code: st.Code(), Reason: reasonOfCode(st.Code()), Message: st.Message(), cause: err}
	for _, detail := range st.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			typed.Reason, typed.Metadata = Reason(detail.GetReason()), detail.GetMetadata()
		case *errdetails.RetryInfo:
			typed.RetryDelay = detail.GetRetryDelay().AsDuration()
		case *errdetails.BadRequest:
			for _, violation := range detail.GetFieldViolations() {
				typed.FieldViolations = append(typed.FieldViolations,
					FieldViolation{Field: violation.GetField(), Description: violation.GetDescription()})
			}
		case *sluicev1.PublishFailure:
			typed.PublishFailure = detail
		}
	}
	return typed
}

// errorFromPublish says why one batch of a stream was refused.
func errorFromPublish(refusal *sluicev1.PublishError) *Error {
	code := codes.Code(refusal.GetCode())
	reason := Reason(refusal.GetReason())
	if reason == "" {
		reason = reasonOfCode(code)
	}
	return &Error{
		Code: code, Reason: reason, Message: refusal.GetMessage(), RetryDelay: refusal.GetRetryDelay().AsDuration(),
	}
}

// ownError is an error that this package found by itself.
func ownError(code codes.Code, reason Reason, format string, args ...any) *Error {
	return &Error{Code: code, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

func closedError(what string) *Error {
	return ownError(codes.Canceled, ReasonClosed, "the %s is closed", what)
}

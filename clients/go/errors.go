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

// FieldViolation is the fault of one field of a request.
type FieldViolation struct {
	// Field is a path: "settlements[2].offsets".
	Field string
	// Description is the fault.
	Description string
}

// Error is the failure of a call, a batch or a message: the broker refused it, or could not be reached.
type Error struct {
	// Code is the gRPC status code.
	Code codes.Code
	// Reason is the stable name of the error. Programs decide by it. If the broker gave none (it did not answer, or a proxy
	// answered), it is the name of the code: "UNAVAILABLE".
	Reason Reason
	// Message is the text of the error. Programs must not decide by it.
	Message string
	// Metadata has details for programs.
	Metadata map[string]string
	// FieldViolations has the faults of the request, one for each field.
	FieldViolations []FieldViolation
	// RetryDelay is how long the broker asks to wait before a retry; zero if it does not say.
	RetryDelay time.Duration
	// PublishFailure says which requests of a failed Publish are durable; nil for other calls.
	PublishFailure *sluicev1.PublishFailure

	cause error
}

// Error returns the text with the reason.
func (e *Error) Error() string {
	return fmt.Sprintf("sluice: %s: %s", e.Reason, e.Message)
}

// Unwrap returns the error of the call, or nil.
func (e *Error) Unwrap() error { return e.cause }

// GRPCStatus returns the status, for [status.FromError].
func (e *Error) GRPCStatus() *status.Status {
	if e.cause != nil {
		if cause, ok := status.FromError(e.cause); ok {
			return cause
		}
	}
	return status.New(e.Code, e.Message)
}

// ReasonOf returns the reason of the *Error in err's chain, or "" if there is none.
func ReasonOf(err error) Reason {
	var typed *Error
	if errors.As(err, &typed) {
		return typed.Reason
	}
	return ""
}

// errorFrom converts the error of a call into an *Error. The end of a stream stays io.EOF.
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

// errorFromPublish converts the refusal of one batch of a stream.
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

// ownError is an error that this package itself reports.
func ownError(code codes.Code, reason Reason, format string, args ...any) *Error {
	return &Error{Code: code, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

func closedError(what string) *Error {
	return ownError(codes.Canceled, ReasonClosed, "the %s is closed", what)
}

package sluice

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sluice-mq/sluice/clients/go/sluicev1"
)

func TestDetailsOfAStatus(t *testing.T) {
	st, err := status.New(codes.ResourceExhausted, "full").WithDetails(
		&errdetails.ErrorInfo{Reason: "BACKLOG_FULL", Domain: "sluice.v1", Metadata: map[string]string{"topic": "t"}},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(1500 * time.Millisecond)},
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "f", Description: "d"}}},
		&sluicev1.PublishFailure{DurableRequestCount: 3},
	)
	check(t, err)
	typed := toError(fmt.Errorf("wrapped: %w", st.Err()))
	equal(t, typed.Code, codes.ResourceExhausted, "code")
	equal(t, typed.Reason, ReasonBacklogFull, "reason")
	equal(t, typed.Metadata["topic"], "t", "metadata")
	equal(t, typed.RetryDelay, 1500*time.Millisecond, "retry delay")
	equal(t, typed.FieldViolations[0], FieldViolation{"f", "d"}, "violation")
	equal(t, typed.PublishFailure.GetDurableRequestCount(), 3, "durable requests")
	equal(t, status.Code(fmt.Errorf("wrapped: %w", typed)), codes.ResourceExhausted, "code for those who ask gRPC")
	equal(t, ReasonOf(fmt.Errorf("wrapped: %w", typed)), ReasonBacklogFull, "reason of a wrapped error")
}

func TestErrorsWithoutDetails(t *testing.T) {
	equal(t, toError(status.Error(codes.Unavailable, "gone")).Reason, "UNAVAILABLE", "reason")
	equal(t, toError(context.DeadlineExceeded).Code, codes.DeadlineExceeded, "code of a context")
	equal(t, toError(errors.New("odd")).Reason, "UNKNOWN", "reason of anything else")
	equal(t, ReasonOf(nil), "", "reason of no error")
	refusal := &sluicev1.PublishError{Code: uint32(codes.Internal), RetryDelay: durationpb.New(time.Second)}
	equal(t, errorFromPublish(refusal).Reason, "INTERNAL", "reason of a refusal")
	equal(t, errorFromPublish(refusal).RetryDelay, time.Second, "retry delay of a refusal")
}

// A reason that is new in the API has to get its constant here.
func TestEveryReasonHasAConstant(t *testing.T) {
	constants := map[Reason]bool{
		ReasonInvalidField: true, ReasonInvalidName: true, ReasonMalformedRequest: true, ReasonMessageTooLarge: true,
		ReasonRequestTooLarge: true, ReasonReservedHeader: true, ReasonUnknownPartition: true,
		ReasonInvalidPageToken: true, ReasonInvalidUpdateMask: true, ReasonTopicNotFound: true,
		ReasonSubscriptionNotFound: true, ReasonSessionNotFound: true, ReasonMessageNotFound: true,
		ReasonProducerNotFound: true, ReasonTopicExists: true, ReasonSubscriptionExists: true,
		ReasonProducerFenced: true, ReasonTopicDeleted: true, ReasonSubscriptionDeleted: true,
		ReasonAutoCreateDisabled: true, ReasonSequenceGap: true, ReasonSessionClosed: true, ReasonRedriveReplaced: true,
		ReasonOffsetOutOfRange: true, ReasonBacklogFull: true, ReasonDiskNearlyFull: true, ReasonTooManyStreams: true,
		ReasonTooManyTopics: true, ReasonStarting: true, ReasonDraining: true, ReasonStorageFailed: true,
		ReasonDataLoss: true, ReasonUnauthenticated: true, ReasonPermissionDenied: true, ReasonUnimplemented: true,
		ReasonInternal: true, ReasonDeadLetterCycle: true, ReasonReadFailed: true, ReasonTooManyOpens: true,
		ReasonTooManyConnections: true, ReasonTooManyCalls: true, ReasonRequestTimeout: true, ReasonSequenceReused: true,
	}
	for number, name := range sluicev1.ErrorReason_name {
		if reason := Reason(strings.TrimPrefix(name, "ERROR_REASON_")); number > 0 && !constants[reason] {
			t.Errorf("%s has no constant", reason)
		}
	}
	equal(t, len(constants), len(sluicev1.ErrorReason_name)-1, "constants")
}

func TestErrorsOfTheBroker(t *testing.T) {
	ctx := testContext(t)
	client := connect(t, shared.Address)
	_, err := client.Admin.GetTopic(ctx, &sluicev1.GetTopicRequest{Name: "nowhere"})
	equal(t, ReasonOf(err), ReasonTopicNotFound, "reason of a unary call")
	equal(t, toError(err).Metadata["topic"], "nowhere", "metadata")
	_, err = client.Admin.CreateTopic(ctx, &sluicev1.CreateTopicRequest{Topic: &sluicev1.Topic{Name: "no blanks"}})
	equal(t, ReasonOf(err), ReasonInvalidName, "reason of a bad name")
	if len(toError(err).FieldViolations) == 0 {
		t.Fatalf("no field is named: %+v", err)
	}
	stream, err := client.Broker.Read(ctx, &sluicev1.ReadRequest{Topic: "nowhere"})
	check(t, err)
	_, err = stream.Recv()
	equal(t, ReasonOf(err), ReasonTopicNotFound, "reason of a stream")
}

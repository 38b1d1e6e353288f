package sluice

import "google.golang.org/grpc/codes"

// Reason is the stable name of an error: what ErrorInfo.reason and PublishError.reason carry. A reason never changes
// its meaning; what each means stands in sluice/v1/error_reason.proto.
type Reason string

// The reasons of the broker. The code that carries each stands behind it.
const (
	ReasonInvalidField         Reason = "INVALID_FIELD"          // INVALID_ARGUMENT
	ReasonInvalidName          Reason = "INVALID_NAME"           // INVALID_ARGUMENT
	ReasonMalformedRequest     Reason = "MALFORMED_REQUEST"      // INVALID_ARGUMENT
	ReasonMessageTooLarge      Reason = "MESSAGE_TOO_LARGE"      // INVALID_ARGUMENT
	ReasonRequestTooLarge      Reason = "REQUEST_TOO_LARGE"      // INVALID_ARGUMENT
	ReasonReservedHeader       Reason = "RESERVED_HEADER"        // INVALID_ARGUMENT
	ReasonUnknownPartition     Reason = "UNKNOWN_PARTITION"      // INVALID_ARGUMENT
	ReasonInvalidPageToken     Reason = "INVALID_PAGE_TOKEN"     // INVALID_ARGUMENT
	ReasonInvalidUpdateMask    Reason = "INVALID_UPDATE_MASK"    // INVALID_ARGUMENT
	ReasonTopicNotFound        Reason = "TOPIC_NOT_FOUND"        // NOT_FOUND
	ReasonSubscriptionNotFound Reason = "SUBSCRIPTION_NOT_FOUND" // NOT_FOUND
	ReasonSessionNotFound      Reason = "SESSION_NOT_FOUND"      // NOT_FOUND
	ReasonMessageNotFound      Reason = "MESSAGE_NOT_FOUND"      // NOT_FOUND
	ReasonProducerNotFound     Reason = "PRODUCER_NOT_FOUND"     // NOT_FOUND
	ReasonTopicExists          Reason = "TOPIC_EXISTS"           // ALREADY_EXISTS
	ReasonSubscriptionExists   Reason = "SUBSCRIPTION_EXISTS"    // ALREADY_EXISTS
	ReasonProducerFenced       Reason = "PRODUCER_FENCED"        // FAILED_PRECONDITION
	ReasonTopicDeleted         Reason = "TOPIC_DELETED"          // FAILED_PRECONDITION
	ReasonSubscriptionDeleted  Reason = "SUBSCRIPTION_DELETED"   // FAILED_PRECONDITION
	ReasonAutoCreateDisabled   Reason = "AUTO_CREATE_DISABLED"   // NOT_FOUND
	ReasonSequenceGap          Reason = "SEQUENCE_GAP"           // ABORTED
	ReasonSessionClosed        Reason = "SESSION_CLOSED"         // ABORTED
	ReasonRedriveReplaced      Reason = "REDRIVE_REPLACED"       // ABORTED
	ReasonOffsetOutOfRange     Reason = "OFFSET_OUT_OF_RANGE"    // OUT_OF_RANGE
	ReasonBacklogFull          Reason = "BACKLOG_FULL"           // RESOURCE_EXHAUSTED
	ReasonDiskNearlyFull       Reason = "DISK_NEARLY_FULL"       // RESOURCE_EXHAUSTED
	ReasonTooManyStreams       Reason = "TOO_MANY_STREAMS"       // RESOURCE_EXHAUSTED
	ReasonTooManyTopics        Reason = "TOO_MANY_TOPICS"        // RESOURCE_EXHAUSTED
	ReasonStarting             Reason = "STARTING"               // UNAVAILABLE
	ReasonDraining             Reason = "DRAINING"               // UNAVAILABLE
	ReasonStorageFailed        Reason = "STORAGE_FAILED"         // UNAVAILABLE
	ReasonDataLoss             Reason = "DATA_LOSS"              // DATA_LOSS
	ReasonUnauthenticated      Reason = "UNAUTHENTICATED"        // UNAUTHENTICATED
	ReasonPermissionDenied     Reason = "PERMISSION_DENIED"      // PERMISSION_DENIED
	ReasonUnimplemented        Reason = "UNIMPLEMENTED"          // UNIMPLEMENTED
	ReasonInternal             Reason = "INTERNAL"               // INTERNAL
	ReasonDeadLetterCycle      Reason = "DEAD_LETTER_CYCLE"      // FAILED_PRECONDITION
	ReasonReadFailed           Reason = "READ_FAILED"            // DATA_LOSS
	ReasonTooManyOpens         Reason = "TOO_MANY_OPENS"         // RESOURCE_EXHAUSTED
	ReasonTooManyConnections   Reason = "TOO_MANY_CONNECTIONS"   // RESOURCE_EXHAUSTED
	ReasonTooManyCalls         Reason = "TOO_MANY_CALLS"         // RESOURCE_EXHAUSTED
	ReasonRequestTimeout       Reason = "REQUEST_TIMEOUT"        // DEADLINE_EXCEEDED
	ReasonSequenceReused       Reason = "SEQUENCE_REUSED"        // FAILED_PRECONDITION
)

// The reasons of this package.
const (
	ReasonBufferFull   Reason = "BUFFER_FULL"   // RESOURCE_EXHAUSTED
	ReasonRetryTimeout Reason = "RETRY_TIMEOUT" // DEADLINE_EXCEEDED
	ReasonClosed       Reason = "CLOSED"        // CANCELLED
)

var codeNames = map[codes.Code]Reason{
	codes.Canceled:           "CANCELLED",
	codes.Unknown:            "UNKNOWN",
	codes.InvalidArgument:    "INVALID_ARGUMENT",
	codes.DeadlineExceeded:   "DEADLINE_EXCEEDED",
	codes.NotFound:           "NOT_FOUND",
	codes.AlreadyExists:      "ALREADY_EXISTS",
	codes.PermissionDenied:   "PERMISSION_DENIED",
	codes.ResourceExhausted:  "RESOURCE_EXHAUSTED",
	codes.FailedPrecondition: "FAILED_PRECONDITION",
	codes.Aborted:            "ABORTED",
	codes.OutOfRange:         "OUT_OF_RANGE",
	codes.Unimplemented:      "UNIMPLEMENTED",
	codes.Internal:           "INTERNAL",
	codes.Unavailable:        "UNAVAILABLE",
	codes.DataLoss:           "DATA_LOSS",
	codes.Unauthenticated:    "UNAUTHENTICATED",
}

// reasonOfCode is what stands for a reason where there is none.
func reasonOfCode(code codes.Code) Reason {
	if name, ok := codeNames[code]; ok {
		return name
	}
	return "UNKNOWN"
}

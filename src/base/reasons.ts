/**
 * The table of errors: every reason of an error of Sluice, and its gRPC status code.
 *
 * A reason is part of the API: it is sent in `ErrorInfo.reason` (domain `sluice.v1`) and in `PublishError.reason`,
 * and its meaning never changes.
 */

/** The numbers of `google.rpc.Code`. */
export const StatusCode = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const;

export type StatusCode = (typeof StatusCode)[keyof typeof StatusCode];

/** The domain of every `ErrorInfo` that Sluice sends. */
export const errorDomain = 'sluice.v1';

const c = StatusCode;

/** Reason → code. Clients decide by the reason; proxies and libraries by the code. */
export const reasons = {
  /** A field is missing, out of its range, or contradicts another. */
  INVALID_FIELD: c.INVALID_ARGUMENT,
  /** A name is empty, too long or has characters outside the pattern. */
  INVALID_NAME: c.INVALID_ARGUMENT,
  /** The bytes are not a valid protobuf message of the expected type. */
  MALFORMED_REQUEST: c.INVALID_ARGUMENT,
  /** One message is larger than `max_message_bytes`. */
  MESSAGE_TOO_LARGE: c.INVALID_ARGUMENT,
  /** One request is larger than `max_request_bytes`. */
  REQUEST_TOO_LARGE: c.INVALID_ARGUMENT,
  /** A header's name begins with `sluice-`. */
  RESERVED_HEADER: c.INVALID_ARGUMENT,
  /** The topic has no partition of that number. */
  UNKNOWN_PARTITION: c.INVALID_ARGUMENT,
  /** The page token does not come from this list. */
  INVALID_PAGE_TOKEN: c.INVALID_ARGUMENT,
  /** An update mask names a field that can't be updated. */
  INVALID_UPDATE_MASK: c.INVALID_ARGUMENT,

  TOPIC_NOT_FOUND: c.NOT_FOUND,
  SUBSCRIPTION_NOT_FOUND: c.NOT_FOUND,
  /** The session has ended, or never existed. Its messages are free for other sessions. */
  SESSION_NOT_FOUND: c.NOT_FOUND,
  /** There is no message at that offset yet. */
  MESSAGE_NOT_FOUND: c.NOT_FOUND,
  PRODUCER_NOT_FOUND: c.NOT_FOUND,

  TOPIC_EXISTS: c.ALREADY_EXISTS,
  SUBSCRIPTION_EXISTS: c.ALREADY_EXISTS,

  /** A producer with a higher epoch has taken over. */
  PRODUCER_FENCED: c.FAILED_PRECONDITION,
  /** An earlier epoch of the producer used these sequence numbers: resume where `OpenProducer` says. */
  SEQUENCE_REUSED: c.FAILED_PRECONDITION,
  /** A subscription's dead-letter topic would lead back to its own topic. */
  DEAD_LETTER_CYCLE: c.FAILED_PRECONDITION,
  /** The topic was deleted while this stream was open. */
  TOPIC_DELETED: c.FAILED_PRECONDITION,
  /** The subscription was deleted while this stream was open. */
  SUBSCRIPTION_DELETED: c.FAILED_PRECONDITION,
  /** The topic does not exist, and topics are not created automatically (`auto_create_topics` is off). */
  AUTO_CREATE_DISABLED: c.NOT_FOUND,

  /** Sequence numbers were skipped: resume where `GetProducer` says. */
  SEQUENCE_GAP: c.ABORTED,
  /** The consumer was replaced, or the server ended its stream on purpose. */
  SESSION_CLOSED: c.ABORTED,
  /** Another call redrives the dead letters of the subscription, and continues where this one stopped. */
  REDRIVE_REPLACED: c.ABORTED,

  OFFSET_OUT_OF_RANGE: c.OUT_OF_RANGE,

  BACKLOG_FULL: c.RESOURCE_EXHAUSTED,
  DISK_NEARLY_FULL: c.RESOURCE_EXHAUSTED,
  TOO_MANY_STREAMS: c.RESOURCE_EXHAUSTED,
  TOO_MANY_TOPICS: c.RESOURCE_EXHAUSTED,
  /** The client opens more streams a second than the broker allows. */
  TOO_MANY_OPENS: c.RESOURCE_EXHAUSTED,
  /** The client has more connections than the broker allows. */
  TOO_MANY_CONNECTIONS: c.RESOURCE_EXHAUSTED,
  /** More unary calls are open than the broker allows. */
  TOO_MANY_CALLS: c.RESOURCE_EXHAUSTED,

  /** The request did not arrive in time after its call was opened. */
  REQUEST_TIMEOUT: c.DEADLINE_EXCEEDED,

  STARTING: c.UNAVAILABLE,
  DRAINING: c.UNAVAILABLE,
  /** A write failed: the broker ends, and restarts from what is on disk. */
  STORAGE_FAILED: c.UNAVAILABLE,

  /** A stored record is damaged or missing. */
  DATA_LOSS: c.DATA_LOSS,
  /** The disk failed to read a record, twice. */
  READ_FAILED: c.DATA_LOSS,

  UNAUTHENTICATED: c.UNAUTHENTICATED,
  PERMISSION_DENIED: c.PERMISSION_DENIED,

  UNIMPLEMENTED: c.UNIMPLEMENTED,
  /** A fault of the broker itself. */
  INTERNAL: c.INTERNAL,

  /** Only when the broker starts: never sent over gRPC. */
  INVALID_SETTING: c.INVALID_ARGUMENT,
  DATA_DIRECTORY_IN_USE: c.FAILED_PRECONDITION,
  DATA_DIRECTORY_FOREIGN: c.FAILED_PRECONDITION,
  DATA_DIRECTORY_NEWER: c.FAILED_PRECONDITION,
  DATA_DIRECTORY_UNUSABLE: c.FAILED_PRECONDITION,
  /** The store contains less than was known to be synced. */
  SYNCED_DATA_MISSING: c.DATA_LOSS,
} as const satisfies Record<string, StatusCode>;

export type Reason = keyof typeof reasons;

import { fromBinary } from '@bufbuild/protobuf';
import { anyUnpack, type Duration } from '@bufbuild/protobuf/wkt';
import { Metadata, status as StatusCode } from '@grpc/grpc-js';
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from './gen/google/rpc/error_details_pb.js';
import { StatusSchema } from './gen/google/rpc/status_pb.js';
import { type PublishError, type PublishFailure, PublishFailureSchema } from './gen/sluice/v1/broker_pb.js';
import type { ErrorReason } from './gen/sluice/v1/error_reason_pb.js';

/** The status codes of gRPC, by name. */
export { StatusCode };

/** A field of a request that the broker refused. */
export interface FieldViolation {
  /** A path: `settlements[2].offsets`. */
  readonly field: string;
  /** The fault of the field. */
  readonly description: string;
}

/** The reasons of the broker, for example `TOPIC_NOT_FOUND`. */
export type BrokerReason = Exclude<keyof typeof ErrorReason, 'UNSPECIFIED'>;

/** The reasons that this client adds. */
export type ClientReason =
  /** `send` with `whenFull: 'fail'`, and the buffer is full. */
  | 'BUFFER_FULL'
  /** A batch could not be stored within `retryTimeoutMs`. */
  | 'RETRY_TIMEOUT'
  /** The producer or the consumer is closed. */
  | 'CLOSED'
  /** The consumer is already running. */
  | 'RUNNING'
  /** The client is closed. */
  | 'CLIENT_CLOSED'
  /** A write to a stream that has ended. */
  | 'CALL_ENDED'
  /** The reason of an aborted `signal`: the message is no longer leased to this consumer. */
  | 'LEASE_LOST';

/** Other values are names of status codes, and reasons of newer brokers. */
export type Reason = BrokerReason | ClientReason | (string & {});

interface ErrorFields {
  readonly code: StatusCode;
  readonly reason: Reason;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly fieldViolations?: readonly FieldViolation[];
  readonly retryAfterMs?: number | undefined;
  readonly publishFailure?: PublishFailure | undefined;
  readonly cause?: unknown;
}

/** The error of a call that the broker refused, or that could not reach the broker. */
export class SluiceError extends Error {
  /** Constant, for code that distinguishes errors by name. */
  override readonly name = 'SluiceError';
  /** The gRPC status code, by which proxies and libraries decide. */
  readonly code: StatusCode;
  /**
   * Stable name of the error, from `ErrorInfo`. Without `ErrorInfo` (the broker did not answer, or a proxy
   * answered), it is the name of the code: `UNAVAILABLE`.
   */
  readonly reason: Reason;
  /** Details for programs. */
  readonly metadata: Readonly<Record<string, string>>;
  /** The faults of the request, one for each field. */
  readonly fieldViolations: readonly FieldViolation[];
  /** The delay before a retry that the broker asks for. */
  readonly retryAfterMs: number | undefined;
  /** Details of single methods. */
  readonly details: {
    /** After a failed Publish: which requests of its stream are durable. */
    readonly publishFailure: PublishFailure | undefined;
  };

  constructor(message: string, fields: ErrorFields) {
    super(message, fields.cause === undefined ? undefined : { cause: fields.cause });
    this.code = fields.code;
    this.reason = fields.reason;
    this.metadata = fields.metadata ?? {};
    this.fieldViolations = fields.fieldViolations ?? [];
    this.retryAfterMs = fields.retryAfterMs;
    this.details = { publishFailure: fields.publishFailure };
  }

  /** Converts the error of a call into a SluiceError. */
  static from(thrown: unknown): SluiceError {
    if (thrown instanceof SluiceError) return thrown;
    if (!isStatusObject(thrown)) {
      const message = thrown instanceof Error ? thrown.message : String(thrown);
      return new SluiceError(message, { code: StatusCode.UNKNOWN, reason: 'UNKNOWN', cause: thrown });
    }
    return new SluiceError(thrown.details, {
      code: thrown.code,
      reason: nameOfCode(thrown.code),
      ...readDetails(thrown.metadata),
      cause: thrown,
    });
  }

  /** The error of a batch of a PublishStream that the broker refused. */
  static fromPublishError(error: PublishError): SluiceError {
    const reason = error.reason === '' ? nameOfCode(error.code) : error.reason;
    const retryAfterMs = error.retryDelay === undefined ? undefined : durationMs(error.retryDelay);
    return new SluiceError(error.message, { code: error.code, reason, retryAfterMs });
  }
}

function nameOfCode(code: number): string {
  return StatusCode[code] ?? 'UNKNOWN';
}

function isStatusObject(
  thrown: unknown,
): thrown is { code: StatusCode; details: string; metadata: Metadata | undefined } {
  return (
    thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'number' && 'details' in thrown
  );
}

/** The standard error details that Sluice sends. Details that can't be decoded are left out. */
function readDetails(metadata: Metadata | undefined): Partial<ErrorFields> {
  const bytes = metadata instanceof Metadata ? metadata.get('grpc-status-details-bin')[0] : undefined;
  if (!(bytes instanceof Uint8Array)) return {};
  try {
    const fields: { -readonly [K in keyof ErrorFields]?: ErrorFields[K] } = {};
    for (const detail of fromBinary(StatusSchema, bytes).details) {
      const info = anyUnpack(detail, ErrorInfoSchema);
      if (info !== undefined) Object.assign(fields, { reason: info.reason, metadata: info.metadata });
      const retry = anyUnpack(detail, RetryInfoSchema);
      if (retry?.retryDelay !== undefined) fields.retryAfterMs = durationMs(retry.retryDelay);
      const violations = anyUnpack(detail, BadRequestSchema)?.fieldViolations;
      if (violations !== undefined) fields.fieldViolations = violations;
      fields.publishFailure ??= anyUnpack(detail, PublishFailureSchema);
    }
    return fields;
  } catch {
    return {};
  }
}

export function durationMs(duration: Duration): number {
  return Number(duration.seconds) * 1000 + duration.nanos / 1e6;
}

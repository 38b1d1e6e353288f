import {
  create,
  createRegistry,
  type DescMessage,
  fromBinary,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import { type Any, anyPack, anyUnpack } from '@bufbuild/protobuf/wkt';
import { Metadata, type StatusObject } from '@grpc/grpc-js';
import type { ErrorDetail } from '../../api/call.js';
import { toDuration } from '../../api/duration.js';
import { errorText } from '../../api/error-text.js';
import type { Api } from '../../api/methods.js';
import { type ErrorDetails, SluiceError } from '../../base/errors.js';
import type { Logger } from '../../base/logger.js';
import { errorDomain, type Reason, reasons } from '../../base/reasons.js';
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from '../../gen/google/rpc/error_details_pb.js';
import { StatusSchema } from '../../gen/google/rpc/status_pb.js';

const detailsKey = 'grpc-status-details-bin';

/** The gRPC status of an error, with the details for programs in `grpc-status-details-bin`. */
export function toStatus(error: SluiceError, extra?: ErrorDetail): StatusObject {
  const { field, retryAfterMs, metadata } = error.details;
  const message = errorText(error);
  const details: Any[] = [
    anyPack(
      ErrorInfoSchema,
      create(ErrorInfoSchema, { reason: error.reason, domain: errorDomain, metadata: { ...metadata } }),
    ),
  ];
  if (field !== undefined) {
    const violation = { field, description: message };
    details.push(anyPack(BadRequestSchema, create(BadRequestSchema, { fieldViolations: [violation] })));
  }
  if (retryAfterMs !== undefined) {
    const retryDelay = toDuration(retryAfterMs);
    details.push(anyPack(RetryInfoSchema, create(RetryInfoSchema, { retryDelay })));
  }
  if (extra !== undefined) details.push(anyPack(extra.schema, extra.message));
  const status = create(StatusSchema, { code: error.code, message, details });
  const trailers = new Metadata();
  trailers.set(detailsKey, Buffer.from(toBinary(StatusSchema, status)));
  return { code: error.code, details: message, metadata: trailers };
}

/** What makes an error of the broker one that a client understands. */
export interface ErrorServices {
  readonly fieldOf: Api['fieldOf'];
  readonly logger: Logger;
}

/**
 * Anything that was thrown, as the error that the client sees: with the field of the request that is at fault. `request`
 * is undefined for a method that is not part of the API. What is INTERNAL is logged with its stack, and the client learns
 * only that there was something. A defect ends the process: see `base/invariant.ts`.
 */
export function clientError(
  thrown: unknown,
  { fieldOf, logger }: ErrorServices,
  request: DescMessage | undefined,
): SluiceError {
  const error = SluiceError.from(thrown);
  const { subject, field, ...details } = error.details;
  if (error.reason === 'INTERNAL') {
    logger.error({ error: details.cause ?? error }, 'a call failed');
    return new SluiceError('INTERNAL', 'internal error: the log of the broker has the details');
  }
  if (subject === undefined || field !== undefined) return error;
  const found = request === undefined ? undefined : fieldOf(subject, request);
  return new SluiceError(error.reason, error.message, {
    ...details,
    ...(found !== undefined && { field: found }),
  });
}

/** A status of Sluice, decoded. */
export interface ReceivedError {
  readonly error: SluiceError;
  /** Details that are not part of every error, such as PublishFailure. */
  readonly extra: readonly Any[];
}

const standardDetails = createRegistry(ErrorInfoSchema, BadRequestSchema, RetryInfoSchema);

/** Undefined if the status does not come from Sluice, but from a proxy or from gRPC itself. */
export function fromStatus(status: { readonly metadata: Metadata }): ReceivedError | undefined {
  const bytes = status.metadata.get(detailsKey)[0];
  if (!Buffer.isBuffer(bytes)) return undefined;
  const { message, details } = fromBinary(StatusSchema, bytes);
  const read: DetailsRead = { reason: undefined, error: {}, extra: [] };
  for (const any of details) readDetail(any, read);
  if (read.reason === undefined) return undefined;
  return { error: new SluiceError(read.reason, message, read.error), extra: read.extra };
}

interface DetailsRead {
  reason: Reason | undefined;
  error: ErrorDetails;
  extra: Any[];
}

function readDetail(any: Any, read: DetailsRead): void {
  const detail = anyUnpack(any, standardDetails);
  if (detail?.$typeName === ErrorInfoSchema.typeName) {
    const { domain, reason, metadata } = detail as MessageShape<typeof ErrorInfoSchema>;
    if (domain === errorDomain && isReason(reason)) read.reason = reason;
    if (Object.keys(metadata).length > 0) read.error = { ...read.error, metadata };
  } else if (detail?.$typeName === BadRequestSchema.typeName) {
    const field = (detail as MessageShape<typeof BadRequestSchema>).fieldViolations[0]?.field;
    if (field !== undefined) read.error = { ...read.error, field };
  } else if (detail?.$typeName === RetryInfoSchema.typeName) {
    const delay = (detail as MessageShape<typeof RetryInfoSchema>).retryDelay;
    if (delay === undefined) return;
    read.error = { ...read.error, retryAfterMs: Number(delay.seconds) * 1000 + delay.nanos / 1e6 };
  } else read.extra.push(any);
}

function isReason(text: string): text is Reason {
  return Object.hasOwn(reasons, text);
}

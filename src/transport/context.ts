import { anonymous, type CallContext, type TraceContext } from '../base/call-context.js';

/** The headers of a call: `Metadata` of grpc-js is one. */
export interface CallHeaders {
  get(name: string): readonly (string | Buffer)[];
}

/** Creates the context of a call, once, when its headers have arrived. */
export function createCallContext(
  peer: string,
  deadlineAtMs: number | undefined,
  headers: CallHeaders,
): CallContext {
  return { principal: anonymous, peer, deadlineAtMs, trace: traceOf(headers) };
}

function traceOf(headers: CallHeaders): TraceContext | undefined {
  const [text] = headers.get('traceparent');
  const trace = typeof text === 'string' ? parseTraceparent(text) : undefined;
  if (trace !== undefined) return trace;
  const [bytes] = headers.get('grpc-trace-bin');
  return Buffer.isBuffer(bytes) ? parseGrpcTrace(bytes) : undefined;
}

/** W3C Trace Context, 3.2. Later versions may append fields. */
const traceparent = /^([\da-f]{2})-([\da-f]{32})-([\da-f]{16})-([\da-f]{2})(-.*)?$/;

function parseTraceparent(text: string): TraceContext | undefined {
  const match = traceparent.exec(text);
  if (match === null) return undefined;
  const [, version, traceId, parentId, flags, rest] = match;
  if (version === 'ff' || (version === '00' && rest !== undefined)) return undefined;
  return validTrace(traceId!, parentId!, Number.parseInt(flags!, 16));
}

/**
 * The binary format of gRPC and OpenCensus:
 *
 *     version 0 | 0, 16 bytes of trace id | 1, 8 bytes of span id | 2, 1 byte of flags
 */
function parseGrpcTrace(bytes: Buffer): TraceContext | undefined {
  const isValid =
    bytes.length === 29 && bytes[0] === 0 && bytes[1] === 0 && bytes[18] === 1 && bytes[27] === 2;
  if (!isValid) return undefined;
  return validTrace(bytes.toString('hex', 2, 18), bytes.toString('hex', 19, 27), bytes[28]!);
}

function validTrace(traceId: string, parentId: string, flags: number): TraceContext | undefined {
  if (/^0+$/.test(traceId) || /^0+$/.test(parentId)) return undefined;
  return { traceId, parentId, isSampled: (flags & 1) === 1 };
}

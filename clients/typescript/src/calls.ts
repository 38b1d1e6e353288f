import type { DescMessage, DescMethod, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { GenService, GenServiceMethods } from '@bufbuild/protobuf/codegenv2';
import type { CallOptions as GrpcCallOptions, Metadata } from '@grpc/grpc-js';
import type { Connection } from './connection.js';
import { SluiceError, StatusCode } from './errors.js';
import { defaults, toCallCredentials, toMetadata } from './options.js';
import { RequestWriter, readResponses } from './streams.js';

/** Options of one call. */
export interface CallOptions {
  /** Added to the metadata of the connection. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** The call fails with DEADLINE_EXCEEDED after this. Default: never. */
  readonly timeoutMs?: number;
  /** Cancels the call. */
  readonly signal?: AbortSignal;
}

/** Responses, to be iterated once. Leaving the loop cancels the call. */
export interface ServerStream<O> extends AsyncIterable<O> {
  /** Cancels the call: the iteration fails with CANCELLED. */
  cancel(): void;
}

/** Many requests, one response. */
export interface ClientStream<I, O> {
  /** Resolves when there is room for the next request; await it, or the memory fills. Rejects when the call has ended. */
  write(request: I): Promise<void>;
  /** Ends the requests. */
  end(): void;
  /** The one response. */
  readonly result: Promise<O>;
  /** Cancels the call: `result` rejects with CANCELLED. */
  cancel(): void;
}

/** A stream of requests and a stream of responses, independent of each other. */
export interface BidiStream<I, O> extends ServerStream<O> {
  /** Resolves when there is room for the next request; await it, or the memory fills. Rejects when the call has ended. */
  write(request: I): Promise<void>;
  /** Ends the requests. Responses still arrive. */
  end(): void;
}

type Call<I extends DescMessage, O extends DescMessage, Kind> = Kind extends 'unary'
  ? (request: MessageInitShape<I>, options?: CallOptions) => Promise<MessageShape<O>>
  : Kind extends 'server_streaming'
    ? (request: MessageInitShape<I>, options?: CallOptions) => ServerStream<MessageShape<O>>
    : Kind extends 'client_streaming'
      ? (options?: CallOptions) => ClientStream<MessageInitShape<I>, MessageShape<O>>
      : (options?: CallOptions) => BidiStream<MessageInitShape<I>, MessageShape<O>>;

/** The typed calls of a service: one function for each method, named in lower camel case. */
export type ServiceClient<M extends GenServiceMethods> = {
  readonly [K in keyof M]: Call<M[K]['input'], M[K]['output'], M[K]['methodKind']>;
};

/** Creates the calls of a service from its generated description. */
export function createServiceClient<M extends GenServiceMethods>(
  service: GenService<M>,
  connection: Connection,
): ServiceClient<M> {
  const calls: Record<string, unknown> = {};
  for (const [name, method] of Object.entries<DescMethod>(service.method)) {
    calls[name] = createCall(method, connection);
  }
  return calls as ServiceClient<M>;
}

/** A bidirectional stream of encoded messages. */
export type ByteStream = BidiStream<Buffer, Buffer>;

/** Opens a bidirectional stream for a caller that encodes and decodes the messages itself. */
export function openBytes(method: DescMethod, connection: Connection): ByteStream {
  return openBidi(method, connection, undefined, pass, pass);
}

function openBidi<I, O>(
  method: DescMethod,
  connection: Connection,
  callOptions: CallOptions | undefined,
  encode: (request: I) => Buffer,
  decode: (bytes: Buffer) => O,
): BidiStream<I, O> {
  const [metadata, grpcOptions] = prepare(connection, callOptions);
  const call = connection.grpc.makeBidiStreamRequest(pathOf(method), pass, decode, metadata, grpcOptions);
  const writer = new RequestWriter(call, sendBufferBytes(connection));
  const responses = readResponses(call);
  call.on('status', (status) => {
    const failed = status.code !== StatusCode.OK;
    writer.close(failed ? SluiceError.from(Object.assign(new Error(status.details), status)) : undefined);
  });
  cancelOn(callOptions?.signal, call);
  return {
    write: async (request) => writer.write(encode(request)),
    end: () => writer.end(),
    cancel: () => call.cancel(),
    [Symbol.asyncIterator]: () => responses,
  };
}

const pass = (bytes: Buffer): Buffer => bytes;

function pathOf(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

function sendBufferBytes({ options }: Connection): number {
  return options.sendBufferBytes ?? defaults.sendBufferBytes;
}

function prepare(connection: Connection, call: CallOptions | undefined): [Metadata, GrpcCallOptions] {
  if (connection.isClosed) {
    const text = 'the client is closed';
    throw new SluiceError(text, { code: StatusCode.CANCELLED, reason: 'CLIENT_CLOSED' });
  }
  const { metadata } = connection.options;
  const fixed = typeof metadata === 'function' ? undefined : metadata;
  return [
    toMetadata(fixed, call?.metadata),
    {
      ...(call?.timeoutMs !== undefined && { deadline: Date.now() + call.timeoutMs }),
      ...(typeof metadata === 'function' && { credentials: toCallCredentials(metadata) }),
    },
  ];
}

type AnyRequest = MessageInitShape<DescMessage>;

function createCall(method: DescMethod, connection: Connection): unknown {
  const path = pathOf(method);
  const encode = (request: AnyRequest): Buffer => {
    const bytes = toBinary(method.input, create(method.input, request));
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  };
  const decode = (bytes: Buffer) => fromBinary(method.output, bytes);

  switch (method.methodKind) {
    case 'unary':
      return (request: AnyRequest, callOptions?: CallOptions) =>
        new Promise((resolve, reject) => {
          const [metadata, grpc] = prepare(connection, callOptions);
          const settle = settleWith(resolve, (error) => {
            if (error.code === StatusCode.UNAVAILABLE) connection.states.failed(error, undefined);
            reject(error);
          });
          const call = connection.grpc.makeUnaryRequest(
            path,
            pass,
            decode,
            encode(request),
            metadata,
            grpc,
            settle,
          );
          cancelOn(callOptions?.signal, call);
        });
    case 'server_streaming':
      return (request: AnyRequest, callOptions?: CallOptions) => {
        const call = connection.grpc.makeServerStreamRequest(
          path,
          pass,
          decode,
          encode(request),
          ...prepare(connection, callOptions),
        );
        cancelOn(callOptions?.signal, call);
        const responses = readResponses(call);
        return { cancel: () => call.cancel(), [Symbol.asyncIterator]: () => responses };
      };
    case 'client_streaming':
      return (callOptions?: CallOptions) => {
        const { promise: result, resolve, reject } = deferred<unknown>();
        const [metadata, grpc] = prepare(connection, callOptions);
        const call = connection.grpc.makeClientStreamRequest(
          path,
          pass,
          decode,
          metadata,
          grpc,
          (error, response) => {
            const failure = error === null ? undefined : SluiceError.from(error);
            writer.close(failure);
            settleWith(resolve, reject)(error, response);
          },
        );
        const writer = new RequestWriter(call, sendBufferBytes(connection));
        // `result` reports a failure. The stream emits it, too, and would have no listener.
        call.on('error', () => {});
        cancelOn(callOptions?.signal, call);
        return {
          write: async (request: AnyRequest) => writer.write(encode(request)),
          end: () => writer.end(),
          result,
          cancel: () => call.cancel(),
        };
      };
    case 'bidi_streaming':
      return (callOptions?: CallOptions) => openBidi(method, connection, callOptions, encode, decode);
  }
}

function settleWith(resolve: (value: unknown) => void, reject: (error: SluiceError) => void) {
  return (error: unknown, response: unknown): void => {
    if (error === null || error === undefined) resolve(response);
    else reject(SluiceError.from(error));
  };
}

function deferred<T>() {
  let resolve!: (value: T) => void;
  let reject!: (error: SluiceError) => void;
  const promise = new Promise<T>((onValue, onError) => {
    resolve = onValue;
    reject = onError;
  });
  // A caller that only writes gets the failure from its writes.
  promise.catch(() => {});
  return { promise, resolve, reject };
}

interface Cancellable {
  cancel(): void;
  once(event: 'status', listener: () => void): unknown;
}

function cancelOn(signal: AbortSignal | undefined, call: Cancellable): void {
  if (signal === undefined) return;
  const cancel = () => call.cancel();
  if (signal.aborted) {
    cancel();
    return;
  }
  signal.addEventListener('abort', cancel, { once: true });
  call.once('status', () => signal.removeEventListener('abort', cancel));
}

import http2 from 'node:http2';
import {
  create,
  type DescMessage,
  type DescMethod,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import { anyUnpack } from '@bufbuild/protobuf/wkt';
import { StatusCode } from '../../src/base/reasons.js';
import { KiB, MiB } from '../../src/base/units.js';
import { ErrorInfoSchema } from '../../src/gen/google/rpc/error_details_pb.js';
import { StatusSchema } from '../../src/gen/google/rpc/status_pb.js';
import { FrameReader, frame } from './grpc-framing.js';

/**
 * gRPC on node:http2 and nothing in between: encoded messages out, encoded messages in. For load generators
 * and fault tests, where a client library would be the slowest part or would hide what happens on the wire.
 */

export interface RawStatus {
  readonly code: number;
  readonly message: string;
  /** The stable name of the error: `ErrorInfo.reason`; empty where there is none. */
  readonly reason: string;
  /** `grpc-status-details-bin`, for tests that look at other details. */
  readonly details: Uint8Array | undefined;
}

export class RawGrpcError extends Error {
  override readonly name = 'RawGrpcError';
  readonly status: RawStatus;

  constructor(path: string, status: RawStatus) {
    super(`${path}: code ${status.code} ${status.reason} ${status.message}`);
    this.status = status;
  }
}

export interface RawConnectOptions {
  /** How much the server may send ahead of the reader, for each stream and altogether. */
  readonly streamWindowBytes?: number;
  readonly connectionWindowBytes?: number;
}

export interface RawStreamHandlers {
  /** An encoded message. The bytes are a view of the receive buffer: copy what is to be kept. */
  onMessage(message: Uint8Array): void;
  /** Called once, last. A stream that broke has the status UNAVAILABLE. */
  onEnd(status: RawStatus): void;
}

/** The path of a method, as in `/sluice.v1.Broker/Publish`. */
export function pathOf(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

export class RawConnection {
  readonly #session: http2.ClientHttp2Session;

  private constructor(session: http2.ClientHttp2Session) {
    this.#session = session;
    // Streams report the end of their connection themselves; the event must have a listener all the same.
    session.on('error', () => {});
  }

  /** Connects to `host:port`. Rejects if nothing listens there. */
  static connect(address: string, options: RawConnectOptions = {}): Promise<RawConnection> {
    const { streamWindowBytes = 4 * MiB, connectionWindowBytes = 16 * MiB } = options;
    return new Promise((resolve, reject) => {
      const session = http2.connect(`http://${address}`, {
        settings: { initialWindowSize: streamWindowBytes, enablePush: false, maxFrameSize: 64 * KiB },
      });
      session.once('error', reject);
      session.once('connect', () => {
        session.off('error', reject);
        session.setLocalWindowSize(connectionWindowBytes);
        resolve(new RawConnection(session));
      });
    });
  }

  get isClosed(): boolean {
    return this.#session.closed || this.#session.destroyed;
  }

  /** Throws when the connection is gone; what breaks later is heard of by `onEnd`. */
  open(method: DescMethod, handlers: RawStreamHandlers): RawStream {
    return this.openPath(pathOf(method), handlers);
  }

  /** As `open`, for a method of a service that has no generated code here. */
  openPath(path: string, handlers: RawStreamHandlers): RawStream {
    return new RawStream(this.#session, path, handlers);
  }

  /** One request, one response. Rejects with RawGrpcError. */
  unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
  ): Promise<MessageShape<O>> {
    return new Promise((resolve, reject) => {
      let response: MessageShape<O> | undefined;
      const stream = this.open(method, {
        onMessage: (message) => {
          response = fromBinary(method.output, message);
        },
        onEnd: (status) => {
          if (status.code === StatusCode.OK && response !== undefined) resolve(response);
          else reject(new RawGrpcError(pathOf(method), status));
        },
      });
      stream.write(encode(method.input, request));
      stream.end();
    });
  }

  /** Ends the connection once its streams have ended. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#session.destroyed) resolve();
      else this.#session.close(() => resolve());
    });
  }

  /** Cuts the connection. */
  destroy(): void {
    this.#session.destroy();
  }
}

/** A request with the gRPC prefix. */
export function encode<I extends DescMessage>(schema: I, init: MessageInitShape<I>): Uint8Array {
  return frame(toBinary(schema, create(schema, init)));
}

/** One call. Writes never wait: look at what `write` returns, and at `drained`. */
export class RawStream {
  readonly #stream: http2.ClientHttp2Stream;
  #status: RawStatus | undefined;
  #hasEnded = false;

  constructor(session: http2.ClientHttp2Session, path: string, handlers: RawStreamHandlers) {
    const stream = session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    this.#stream = stream;
    const reader = new FrameReader((message) => handlers.onMessage(message));
    let failure: Error | undefined;
    stream.on('response', (headers) => {
      if (headers['grpc-status'] !== undefined) this.#status = statusOf(headers);
      else if (headers[':status'] !== 200) this.#status = unavailable(`HTTP status ${headers[':status']}`);
    });
    stream.on('trailers', (trailers) => {
      this.#status = statusOf(trailers);
    });
    stream.on('data', (chunk: Uint8Array) => reader.push(chunk));
    stream.on('error', (error) => {
      failure = error;
    });
    stream.once('close', () => {
      this.#hasEnded = true;
      handlers.onEnd(this.#status ?? unavailable(failure?.message ?? 'the stream broke'));
    });
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /**
   * Framed bytes: parts of a message, one, or several. False: the send buffer is full, wait for `drained`. `sent` is
   * called when all of it has left for the transport: the peer's window had room for it.
   */
  write(framed: Uint8Array, sent?: () => void): boolean {
    if (this.#stream.destroyed || this.#stream.writableEnded) return false;
    return this.#stream.write(framed, (error) => {
      if (!error) sent?.();
    });
  }

  /** Bytes that wait in this process: the peer's window is closed, or the loop was busy. */
  get bufferedBytes(): number {
    return this.#stream.writableLength;
  }

  /** Calls back when a full send buffer has emptied; never, when the stream ends first. */
  onceDrained(then: () => void): void {
    this.#stream.once('drain', then);
  }

  /** Stops reading: the receive window fills, and the peer feels it. */
  pause(): void {
    this.#stream.pause();
  }

  resume(): void {
    this.#stream.resume();
  }

  /** Half-closes: no more requests. */
  end(): void {
    if (!this.#stream.destroyed) this.#stream.end();
  }

  cancel(): void {
    this.#stream.close(http2.constants.NGHTTP2_CANCEL);
  }
}

function unavailable(message: string): RawStatus {
  return { code: StatusCode.UNAVAILABLE, message, reason: '', details: undefined };
}

function statusOf(headers: http2.IncomingHttpHeaders): RawStatus {
  const encoded = headers['grpc-status-details-bin'];
  const details = typeof encoded === 'string' ? Buffer.from(encoded, 'base64') : undefined;
  return {
    code: Number(headers['grpc-status']),
    message: decodeURIComponent(String(headers['grpc-message'] ?? '')),
    reason: details === undefined ? '' : reasonOf(details),
    details,
  };
}

function reasonOf(details: Uint8Array): string {
  for (const detail of fromBinary(StatusSchema, details).details) {
    const info = anyUnpack(detail, ErrorInfoSchema);
    if (info !== undefined) return info.reason;
  }
  return '';
}

import {
  constants,
  type Http2Server,
  type Http2Session,
  type ServerHttp2Session,
  type ServerHttp2Stream,
  type Settings,
} from 'node:http2';
import { Metadata, type Server, type ServerInterceptingCallInterface } from '@grpc/grpc-js';
import { invariant } from '../../../base/invariant.js';
import { limits } from '../../../base/limits.js';
import type { HalfOpenStream } from '../half-open-streams.js';

/**
 * Access to the HTTP/2 connections of a grpc-js server that has no public API. Only the files of this folder
 * use private fields of grpc-js. If an update changes those of this file, `test/integration/server-lifecycle.test.ts`
 * fails.
 */

/** How many bytes a client may send before it has to wait for the server to read. */
export interface Windows {
  readonly streamWindowBytes: number;
  readonly connectionWindowBytes: number;
}

interface ServerInternals {
  readonly commonServerOptions?: { settings?: Settings };
  readonly http2Servers?: Map<Http2Server, { readonly sessions: Set<ServerHttp2Session> }>;
}

/**
 * Sets HTTP/2 settings that grpc-js has no options for. The default stream window of 64 KiB would limit a producer
 * 50 ms away to 1.3 MB/s. The default limit of header lists would let a thousand calls hold 64 MiB. Call this
 * before the server binds.
 */
export function changeSettings(server: Server, settings: Settings): void {
  const { commonServerOptions } = internals(server);
  invariant(commonServerOptions !== undefined, 'grpc-js has moved the options of its HTTP/2 servers');
  commonServerOptions.settings = { ...commonServerOptions.settings, ...settings };
}

/** Observes one connection. */
export interface ConnectionObserver {
  broke(): void;
  disconnected(): void;
}

/** Observes connections that have an address. */
export interface ConnectionListener {
  /** `cut` closes the connection at once. */
  connected(address: string, peer: string, cut: () => void): ConnectionObserver;
}

/**
 * The connection of a call. Ask while the call lives: afterwards Node does not know it. Undefined if the client
 * reset the stream before the call began.
 */
export function connectionOf(call: ServerInterceptingCallInterface): Http2Session | undefined {
  const { stream } = call as unknown as { readonly stream?: ServerHttp2Stream };
  invariant(stream !== undefined, 'grpc-js has moved the HTTP/2 stream of a call');
  return stream.session;
}

/** What was sent on the stream of a call and has not left for the transport. */
export function unsentBytes(call: ServerInterceptingCallInterface): number {
  const { stream } = call as unknown as { readonly stream: ServerHttp2Stream };
  return stream.writableLength;
}

/** Everything that was sent on the stream of a call has left for the transport, the status too. */
export function isSent(call: ServerInterceptingCallInterface): boolean {
  const { stream } = call as unknown as { readonly stream: ServerHttp2Stream };
  return stream.writableFinished;
}

/** The client has reset the stream of a call. Node then ends the readable side as if it were complete. */
export function isReset(call: ServerInterceptingCallInterface): boolean {
  const { stream } = call as unknown as { readonly stream: ServerHttp2Stream };
  return stream.aborted || stream.destroyed;
}

/**
 * Ends the client's half of a call once its status has left: the rest of its requests is not needed. Without this,
 * grpc-js leaves the stream open until the client ends it, which may never happen.
 */
export function endRequest(call: ServerInterceptingCallInterface): void {
  const { stream } = call as unknown as { readonly stream: ServerHttp2Stream };
  stream.close(constants.NGHTTP2_NO_ERROR);
}

/** The stream of a call that has its status. */
export function halfOpenStream(call: ServerInterceptingCallInterface): HalfOpenStream {
  const { stream } = call as unknown as { readonly stream: ServerHttp2Stream };
  return {
    get isClosed() {
      return stream.closed || stream.destroyed;
    },
    get hasLeft() {
      // A frame that has left the queue of nghttp2 is with the socket, before every later frame.
      return stream.writableFinished && stream.session?.state.outboundQueueSize === 0;
    },
    close: () => stream.close(constants.NGHTTP2_NO_ERROR),
  };
}

const noMetadata = new Metadata();

/**
 * Drops the headers of a call that has begun: nothing reads them, and grpc-js keeps them as long as the stream
 * lives. If an update changes the field, open calls only cost more.
 */
export function dropMetadata(call: ServerInterceptingCallInterface): void {
  (call as unknown as { metadata: Metadata }).metadata = noMetadata;
}

/** The connections of a server, by the client address that grpc-js reports. */
export class Connections {
  readonly #open = new Set<ServerHttp2Session>();
  readonly #byPeer = new Map<string, ServerHttp2Session>();
  readonly #connectionWindowBytes: number;
  readonly #listener: ConnectionListener;
  #onAllClosed: (() => void) | undefined;

  constructor({ connectionWindowBytes }: Windows, listener: ConnectionListener) {
    this.#connectionWindowBytes = connectionWindowBytes;
    this.#listener = listener;
  }

  /** Adds the connections of a server, open and future ones. The server must be bound. */
  watch(server: Server): void {
    const servers = http2Servers(server);
    invariant(servers.size > 0, 'grpc-js lists no HTTP/2 server although it is bound');
    for (const [http2Server, { sessions }] of servers) {
      for (const session of sessions) this.#add(session);
      http2Server.on('session', (session) => this.#add(session));
    }
  }

  #add(session: ServerHttp2Session): void {
    this.#open.add(session);
    session.once('close', () => this.#closed(session));
    // HTTP/2 has no setting for the connection window.
    session.setLocalWindowSize(this.#connectionWindowBytes);
    const peer = peerOf(session);
    if (peer === undefined) return;
    this.#byPeer.set(peer, session);
    const address = session.socket.remoteAddress!;
    const connection = this.#listener.connected(address, peer, () => cut(session));
    watchStreams(session, () => connection.broke());
    session.once('close', () => {
      // A client that reset its connection may have connected again from the same port.
      if (this.#byPeer.get(peer) === session) this.#byPeer.delete(peer);
      connection.disconnected();
    });
  }

  /** Changes the window of all streams of a connection, open and future ones. */
  setStreamWindow(peer: string, initialWindowSize: number): void {
    const session = this.#byPeer.get(peer);
    if (session === undefined || session.closed || session.destroyed) return;
    session.settings({ initialWindowSize });
  }

  /**
   * Resolves when the last connection has closed. grpc-js can't do this: its `tryShutdown` waits for the callback
   * of `session.close`, which is never called if the session was destroyed just before.
   */
  async allClosed(): Promise<void> {
    if (this.#open.size === 0) return;
    await new Promise<void>((resolve) => {
      this.#onAllClosed = resolve;
    });
  }

  /**
   * Destroys every connection. `forceShutdown` of grpc-js finds them only with channelz enabled, and `drain` skips
   * connections that are already closing.
   */
  destroyAll(): void {
    for (const session of [...this.#open]) session.destroy(undefined, constants.NGHTTP2_CANCEL);
  }

  #closed(session: ServerHttp2Session): void {
    this.#open.delete(session);
    if (this.#open.size === 0) this.#onAllClosed?.();
  }
}

/** Tells the client the reason, and closes the connection without waiting. */
function cut(session: ServerHttp2Session): void {
  if (session.destroyed) return;
  session.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM);
  session.destroy();
}

/**
 * Watches for calls that no well-behaved client makes:
 * - Calls that are reset before the broker sees them. A client that opens and resets thousands at once sends both
 *   in the same bytes: HTTP/2 has processed the reset when the call begins.
 * - Headers above the limit. Node refuses them only after the client has acknowledged the settings.
 */
function watchStreams(session: ServerHttp2Session, broke: () => void): void {
  let previous: ServerHttp2Stream | undefined;
  // Node's types omit the arguments behind the stream: headers, flags and raw headers.
  session.on('stream', (stream: ServerHttp2Stream, ...rest: readonly unknown[]) => {
    if (headerListBytes(rest[2] as readonly string[]) > limits.headerListBytes) {
      stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
      broke();
    }
    if (previous === undefined) setImmediate(() => (previous = undefined));
    else if (previous.rstCode === constants.NGHTTP2_CANCEL && previous.closed) broke();
    previous = stream;
  });
}

/** The size of a header list as HTTP/2 defines it: RFC 9113, 6.5.2. */
function headerListBytes(rawHeaders: readonly string[]): number {
  let bytes = rawHeaders.length * 16;
  for (const text of rawHeaders) bytes += text.length;
  return bytes;
}

function peerOf(session: ServerHttp2Session): string | undefined {
  const { remoteAddress, remotePort } = session.socket;
  if (remoteAddress === undefined) return undefined;
  return remotePort === undefined ? remoteAddress : `${remoteAddress}:${remotePort}`;
}

function http2Servers(server: Server): NonNullable<ServerInternals['http2Servers']> {
  const servers = internals(server).http2Servers;
  invariant(servers instanceof Map, 'grpc-js has moved its HTTP/2 servers');
  return servers;
}

function internals(server: Server): ServerInternals {
  return server as unknown as ServerInternals;
}

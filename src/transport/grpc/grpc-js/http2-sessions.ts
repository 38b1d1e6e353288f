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

/*
 * What there is to do on the HTTP/2 connections of a grpc-js server, and has no public door: the one file that
 * reaches into private fields. `test/integration/server-lifecycle.test.ts` fails where an update moves them.
 */

/** Bytes that a client may send before it has to wait for the server to read. */
export interface Windows {
  readonly streamWindowBytes: number;
  readonly connectionWindowBytes: number;
}

interface ServerInternals {
  readonly commonServerOptions?: { settings?: Settings };
  readonly http2Servers?: Map<Http2Server, { readonly sessions: Set<ServerHttp2Session> }>;
}

/**
 * grpc-js has no options for these settings of HTTP/2. The window begins with 64 KiB, and a producer 50 ms away could
 * not pass 1.3 MB/s; a list of headers may take as much, and a thousand calls would hold 64 MiB. To be called before the server binds.
 */
export function changeSettings(server: Server, settings: Settings): void {
  const { commonServerOptions } = internals(server);
  invariant(commonServerOptions !== undefined, 'grpc-js has moved the options of its HTTP/2 servers');
  commonServerOptions.settings = { ...commonServerOptions.settings, ...settings };
}

/** Hears what becomes of one connection. */
export interface ConnectionObserver {
  broke(): void;
  disconnected(): void;
}

/** Hears of connections that have an address. */
export interface ConnectionListener {
  /** `cut` closes the connection at once. */
  connected(address: string, peer: string, cut: () => void): ConnectionObserver;
}

/**
 * The connection of a call, to be asked for while the call lives: afterwards Node does not tell it any more. Undefined
 * where the client reset the stream before the call began.
 */
export function connectionOf(call: ServerInterceptingCallInterface): Http2Session | undefined {
  const { stream } = call as unknown as { readonly stream?: ServerHttp2Stream };
  invariant(stream !== undefined, 'grpc-js has moved the HTTP/2 stream of a call');
  return stream.session;
}

/** The client has reset the stream of a call. Node then ends what it was sending, as if it were complete. */
export function isReset(call: ServerInterceptingCallInterface): boolean {
  const { stream } = call as unknown as { readonly stream: ServerHttp2Stream };
  return stream.aborted || stream.destroyed;
}

/**
 * Ends the client's half of a call that has its status, once that has left: what it would still send is of no use. By
 * itself grpc-js leaves the stream open until the client ends it, which it may never do.
 */
export function endRequest(call: ServerInterceptingCallInterface): void {
  const { stream } = call as unknown as { readonly stream: ServerHttp2Stream };
  stream.close(constants.NGHTTP2_NO_ERROR);
}

const noMetadata = new Metadata();

/**
 * Lets go of the headers of a call that has begun: nothing reads them, and grpc-js keeps them for as long as the stream
 * lives. Where an update has moved the field, open calls only cost more.
 */
export function dropMetadata(call: ServerInterceptingCallInterface): void {
  (call as unknown as { metadata: Metadata }).metadata = noMetadata;
}

/** The connections of a server, by the address of the client as grpc-js tells it. */
export class Connections {
  readonly #open = new Set<ServerHttp2Session>();
  readonly #byPeer = new Map<string, ServerHttp2Session>();
  #onAllClosed: (() => void) | undefined;

  /** To be called once the server is bound. */
  constructor(server: Server, { connectionWindowBytes }: Windows, listener: ConnectionListener) {
    const add = (session: ServerHttp2Session) => {
      this.#open.add(session);
      session.once('close', () => this.#closed(session));
      // HTTP/2 has no setting for the window that all streams of a connection share.
      session.setLocalWindowSize(connectionWindowBytes);
      const peer = peerOf(session);
      if (peer === undefined) return;
      this.#byPeer.set(peer, session);
      const address = session.socket.remoteAddress!;
      const connection = listener.connected(address, peer, () => cut(session));
      watchStreams(session, () => connection.broke());
      session.once('close', () => {
        // A client that reset its connection may have connected anew from the same port by now.
        if (this.#byPeer.get(peer) === session) this.#byPeer.delete(peer);
        connection.disconnected();
      });
    };
    const servers = http2Servers(server);
    invariant(servers.size > 0, 'grpc-js lists no HTTP/2 server although it is bound');
    for (const [http2Server, { sessions }] of servers) {
      for (const session of sessions) add(session);
      http2Server.on('session', add);
    }
  }

  /** Changes the window of every stream of a connection, those that are open and those to come. */
  setStreamWindow(peer: string, initialWindowSize: number): void {
    const session = this.#byPeer.get(peer);
    if (session === undefined || session.closed || session.destroyed) return;
    session.settings({ initialWindowSize });
  }

  /**
   * Resolves when the last connection has closed. grpc-js can't be asked: its `tryShutdown` waits for the callback of
   * `session.close`, which never comes where the session was destroyed in the moment before.
   */
  async allClosed(): Promise<void> {
    if (this.#open.size === 0) return;
    await new Promise<void>((resolve) => {
      this.#onAllClosed = resolve;
    });
  }

  /**
   * Cuts every connection. grpc-js's own `forceShutdown` finds them only with channelz enabled, and `drain` passes
   * over those that are closing already.
   */
  destroyAll(): void {
    for (const session of [...this.#open]) session.destroy(undefined, constants.NGHTTP2_CANCEL);
  }

  #closed(session: ServerHttp2Session): void {
    this.#open.delete(session);
    if (this.#open.size === 0) this.#onAllClosed?.();
  }
}

/** Tells the client why, and closes the connection without waiting for it. */
function cut(session: ServerHttp2Session): void {
  if (session.destroyed) return;
  session.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM);
  session.destroy();
}

/**
 * Hears of calls that no well-behaved client makes:
 * - Calls that are reset before the broker was told of them. A client that opens and resets thousands at once sends both
 *   in the same piece of bytes: HTTP/2 has seen the reset of one when it comes to the next.
 * - Headers above the limit. Node refuses them by itself once the client has acknowledged the settings, and not before.
 */
function watchStreams(session: ServerHttp2Session, broke: () => void): void {
  let previous: ServerHttp2Stream | undefined;
  // The types of Node leave out what comes behind the stream: headers, flags, and the headers as they came.
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

/** As HTTP/2 counts them: RFC 9113, 6.5.2. */
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

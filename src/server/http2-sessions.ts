import {
  constants,
  type Http2Server,
  type Http2Session,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { Server, ServerInterceptingCallInterface } from '@grpc/grpc-js';
import { invariant } from '../base/invariant.js';

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
  readonly commonServerOptions?: { settings?: { initialWindowSize?: number } };
  readonly http2Servers?: Map<Http2Server, { readonly sessions: Set<ServerHttp2Session> }>;
}

/**
 * HTTP/2 begins with windows of 64 KiB, and grpc-js has no option for a server's: a producer 50 ms away could not
 * pass 1.3 MB/s. To be called before the server binds.
 */
export function setStreamWindow(server: Server, initialWindowSize: number): void {
  const { commonServerOptions } = internals(server);
  invariant(commonServerOptions !== undefined, 'grpc-js has moved the options of its HTTP/2 servers');
  commonServerOptions.settings = { ...commonServerOptions.settings, initialWindowSize };
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

/** The connections of a server, by the address of the client as grpc-js tells it. */
export class Connections {
  readonly #open = new Set<ServerHttp2Session>();
  readonly #byPeer = new Map<string, ServerHttp2Session>();
  #onAllClosed: (() => void) | undefined;

  /** To be called once the server is bound. */
  constructor(server: Server, { connectionWindowBytes }: Windows) {
    const add = (session: ServerHttp2Session) => {
      this.#open.add(session);
      session.once('close', () => this.#closed(session));
      // HTTP/2 has no setting for the window that all streams of a connection share.
      session.setLocalWindowSize(connectionWindowBytes);
      const peer = peerOf(session);
      if (peer === undefined) return;
      this.#byPeer.set(peer, session);
      session.once('close', () => this.#byPeer.delete(peer));
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

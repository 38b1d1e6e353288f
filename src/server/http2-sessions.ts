import { constants, type Http2Server, type ServerHttp2Session } from 'node:http2';
import type { Server } from '@grpc/grpc-js';
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

/** The connections of a server, by the address of the client as grpc-js tells it. */
export class Connections {
  readonly #sessions = new Map<string, ServerHttp2Session>();

  /** To be called once the server is bound. */
  constructor(server: Server, { connectionWindowBytes }: Windows) {
    const add = (session: ServerHttp2Session) => {
      // HTTP/2 has no setting for the window that all streams of a connection share.
      session.setLocalWindowSize(connectionWindowBytes);
      const { remoteAddress, remotePort } = session.socket;
      if (remoteAddress === undefined) return;
      const peer = remotePort === undefined ? remoteAddress : `${remoteAddress}:${remotePort}`;
      this.#sessions.set(peer, session);
      session.once('close', () => this.#sessions.delete(peer));
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
    const session = this.#sessions.get(peer);
    if (session === undefined || session.closed || session.destroyed) return;
    session.settings({ initialWindowSize });
  }
}

/**
 * Cuts every connection. grpc-js's own `forceShutdown` finds them only with channelz enabled, and `drain` passes
 * over those that are closing already.
 */
export function destroyConnections(server: Server): void {
  for (const { sessions } of http2Servers(server).values()) {
    for (const session of [...sessions]) session.destroy(undefined, constants.NGHTTP2_CANCEL);
  }
}

function http2Servers(server: Server): NonNullable<ServerInternals['http2Servers']> {
  const servers = internals(server).http2Servers;
  invariant(servers instanceof Map, 'grpc-js has moved its HTTP/2 servers');
  return servers;
}

function internals(server: Server): ServerInternals {
  return server as unknown as ServerInternals;
}

import type { Http2Server, ServerHttp2Session } from 'node:http2';
import type { Server } from '@grpc/grpc-js';
import { invariant } from '../base/invariant.js';

/** Bytes that a client may send before it has to wait for the server to read. */
export interface ReceiveWindows {
  readonly streamWindowBytes: number;
  readonly connectionWindowBytes: number;
}

/** The fields of grpc-js's server that have no public door. */
interface ServerInternals {
  readonly commonServerOptions?: { settings?: { initialWindowSize?: number } };
  readonly http2Servers?: Map<Http2Server, { readonly sessions: Set<ServerHttp2Session> }>;
}

/**
 * HTTP/2 begins with windows of 64 KiB, and grpc-js has no option for a server's: a producer 50 ms away could not
 * pass 1.3 MB/s. To be called before the server binds.
 */
export function setStreamWindow(server: Server, { streamWindowBytes }: ReceiveWindows): void {
  const { commonServerOptions } = internals(server);
  invariant(commonServerOptions !== undefined, 'grpc-js has moved the options of its HTTP/2 servers');
  commonServerOptions.settings = { ...commonServerOptions.settings, initialWindowSize: streamWindowBytes };
}

/** The window that all streams of a connection share. To be called once the server is bound. */
export function setConnectionWindow(server: Server, { connectionWindowBytes }: ReceiveWindows): void {
  const { http2Servers } = internals(server);
  invariant(http2Servers instanceof Map && http2Servers.size > 0, 'grpc-js has moved its HTTP/2 servers');
  const widen = (session: ServerHttp2Session) => session.setLocalWindowSize(connectionWindowBytes);
  for (const [http2Server, { sessions }] of http2Servers) {
    for (const session of sessions) widen(session);
    http2Server.on('session', widen);
  }
}

function internals(server: Server): ServerInternals {
  return server as unknown as ServerInternals;
}

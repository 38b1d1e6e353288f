import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { SluiceError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';

export interface AdminHttpOptions {
  /** `127.0.0.1:7071`, `[::1]:7071`, `unix:/run/sluice-admin.sock`; port 0 takes a free one. */
  readonly listen: string;
  /** Whether the broker accepts work: the answer of `/readyz`. */
  readonly isReady: () => boolean;
  /** In the format that its type names. */
  readonly metrics: () => Promise<{ readonly contentType: string; readonly text: string }>;
}

export interface AdminHttp {
  /** The address that it listens on. */
  readonly address: string;
  close(): Promise<void>;
}

/**
 * What operators' tools request over plain HTTP: `/metrics`, `/livez` (the process answers), `/readyz` (the broker
 * accepts work). Everything else is available over gRPC. Rejects if it can't listen.
 */
export async function startAdminHttp(options: AdminHttpOptions): Promise<AdminHttp> {
  const server = createServer((request, response) => {
    answer(options, request, response).catch(() => {
      if (!response.headersSent) response.statusCode = 500;
      response.end();
    });
  });
  // Limits the answers that wait for clients that do not read them, and how long each may wait.
  server.maxConnections = limits.adminConnections;
  server.timeout = limits.adminIdleMs;
  await listen(server, options.listen);
  const bound = server.address();
  const port = typeof bound === 'object' && bound !== null ? bound.port : undefined;
  return {
    address: port === undefined ? options.listen : options.listen.replace(/:\d+$/, `:${port}`),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function answer(
  { isReady, metrics }: AdminHttpOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    respond(response, 405, 'only GET and HEAD\n');
    return;
  }
  switch (new URL(request.url ?? '/', 'http://localhost').pathname) {
    case '/livez':
      respond(response, 200, 'ok\n');
      return;
    case '/readyz':
      respond(response, isReady() ? 200 : 503, isReady() ? 'ok\n' : 'not serving\n');
      return;
    case '/metrics': {
      const { contentType, text } = await metrics();
      respond(response, 200, text, contentType);
      return;
    }
    default:
      respond(response, 404, 'there are /metrics, /livez and /readyz\n');
  }
}

function respond(
  response: ServerResponse,
  statusCode: number,
  text: string,
  contentType = 'text/plain; charset=utf-8',
): void {
  response.writeHead(statusCode, { 'content-type': contentType });
  response.end(text);
}

function listen(server: Server, address: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => {
      const text = `can't listen on ${address} for metrics: ${cause.message}`;
      reject(new SluiceError('INVALID_SETTING', text, { field: 'metrics-listen', cause }));
    });
    if (address.startsWith('unix:')) {
      server.listen(address.slice('unix:'.length), resolve);
      return;
    }
    const [, host, port] = /^(.*):(\d+)$/.exec(address)!;
    server.listen(Number(port), host!.replace(/^\[|\]$/g, ''), resolve);
  });
}

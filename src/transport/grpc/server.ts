import { setImmediate } from 'node:timers/promises';
import { Server, ServerCredentials, setLogger } from '@grpc/grpc-js';
import type { Api } from '../../api/methods.js';
import type { Clock } from '../../base/clock.js';
import { SluiceError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import type { Logger } from '../../base/logger.js';
import { divideBudget } from '../../base/memory-budget.js';
import type { Reason } from '../../base/reasons.js';
import { draining } from '../../base/shared-errors.js';
import { within } from '../../base/within.js';
import type { Guard } from '../guards/guard.js';
import { GuardChain } from '../guards/guard-chain.js';
import { Answers } from './answers.js';
import { createDirectCallInterceptor } from './call-interceptor.js';
import { CallTable } from './call-table.js';
import { Connections, changeSettings } from './grpc-js/http2-sessions.js';
import { addHealth } from './health.js';
import { Peers } from './peers.js';
import { ReceiveWindows } from './receive-windows.js';
import { addReflection } from './reflection.js';
import { RequestBodies } from './request-bodies.js';
import { routesOf } from './routes.js';
import { createServiceDefinition } from './service-definition.js';
import { StreamAnswers } from './stream-answers.js';

export interface ServerOptions {
  /** `127.0.0.1:7070`, `[::]:7070`, `unix:/run/sluice.sock`; port 0 takes a free one. */
  readonly listen: string;
  readonly maxRequestBytes: number;
  readonly streamWindowBytes: number;
  readonly connectionWindowBytes: number;
  /** Memory for bytes that producers have sent and the broker has not read, over all producers. */
  readonly receiveBytes: number;
  /** Open streams, over all connections. */
  readonly maxStreams: number;
  /** Open calls that are not streams, over all connections. */
  readonly maxCalls: number;
  /** Streams that one address may open in a second. */
  readonly maxOpensPerSecond: number;
  /** Open connections from one address. */
  readonly maxConnectionsPerPeer: number;
  /** Memory for answers of unary calls that their clients have not read. */
  readonly answerBytes: number;
  /** Memory for answers of streams that are due, or that their clients have not read. */
  readonly streamAnswerBytes: number;
  /** Memory for the requests of calls that take one, until they are answered. */
  readonly requestBytes: number;
  /** How long `close` waits for calls under way before it ends them. */
  readonly drainGraceMs: number;
}

export const defaultServerOptions: ServerOptions = {
  listen: '127.0.0.1:7070',
  maxRequestBytes: limits.maxRequestBytes,
  streamWindowBytes: limits.streamWindowBytes,
  connectionWindowBytes: limits.connectionWindowBytes,
  receiveBytes: divideBudget(limits).receiveBytes,
  maxStreams: limits.maxStreams,
  maxCalls: limits.maxCalls,
  maxOpensPerSecond: limits.maxOpensPerSecond,
  maxConnectionsPerPeer: limits.maxConnectionsPerPeer,
  answerBytes: divideBudget(limits).answerBytes,
  streamAnswerBytes: divideBudget(limits).streamAnswerBytes,
  requestBytes: divideBudget(limits).requestBytes,
  drainGraceMs: limits.drainGraceMs,
};

export interface ServerServices {
  /** Stand before the handlers, in this order. */
  readonly guards: readonly Guard[];
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface CallFigures {
  /** Open calls that are not streams. */
  readonly callCount: number;
  /** Connections with an address. */
  readonly connectionCount: number;
  /** Answers of unary calls that have not left for the transport. */
  readonly answerBytes: number;
  /** Answers of streams that are due, or have not left for the transport. */
  readonly streamAnswerBytes: number;
  /** Requests in memory of calls that take one. */
  readonly requestBytes: number;
  /** Connections that were closed because of their client's behaviour, since the start. */
  readonly cutConnectionCount: number;
  /** Calls that were refused because of a limit, since the start. */
  readonly refusals: ReadonlyMap<Reason, number>;
}

export interface RunningServer {
  /** The address that it listens on, as clients dial it. */
  readonly address: string;
  /** 0 for a Unix socket. */
  readonly port: number;
  /** Open streams, for metrics. */
  readonly streamCount: number;
  /** The figures that limit the calls of clients, for metrics. */
  readonly calls: CallFigures;
  /** Bytes that producers may leave unread if all of them are held now, for metrics. */
  readonly promisedWindowBytes: number;
  readonly isServing: boolean;
  /** Sets the answer of the health service. Calls are accepted either way. */
  setServing(isServing: boolean): void;
  /**
   * Closes the server in bounded steps. Health changes to NOT_SERVING. Streams end with DRAINING once their
   * requests under way are answered. Calls without an answer after the grace period are cut off. A moment later so
   * are clients that do not read their answers. Always resolves. The broker must still be working. May be called
   * twice.
   */
  close(): Promise<void>;
}

/** Serves an API over gRPC. Rejects if it can't listen. Health is NOT_SERVING until `setServing`. */
export async function startServer(
  api: Api,
  options: ServerOptions,
  services: ServerServices,
): Promise<RunningServer> {
  const { clock, logger } = services;
  logGrpc(logger);
  const peers = new Peers(options, clock);
  const answers = new Answers(options.answerBytes);
  const connections = new Connections(options, {
    connected(address, peer, cut) {
      const connection = peers.connected(address, peer, cut);
      return {
        broke: () => connection.broke(clock.monotonicMs()),
        disconnected() {
          answers.forget(connection);
          peers.disconnected(address, peer, connection);
        },
      };
    },
  });
  const receiveWindows = new ReceiveWindows(options, connections);
  const streamAnswers = new StreamAnswers(options.streamAnswerBytes);
  const bodies = new RequestBodies(options.requestBytes);
  const calls = new CallTable({
    routes: routesOf(api),
    peers,
    answers,
    streamAnswers,
    bodies,
    clock,
    maxStreams: options.maxStreams,
    maxCalls: options.maxCalls,
  });
  const server = new Server({
    'grpc.max_receive_message_length': options.maxRequestBytes + limits.oversizeReadBytes,
    'grpc.max_concurrent_streams': options.maxStreams,
    'grpc.keepalive_time_ms': limits.keepaliveEveryMs,
    'grpc.keepalive_timeout_ms': limits.keepaliveTimeoutMs,
    'grpc.enable_channelz': 0,
    interceptors: [
      createDirectCallInterceptor({
        table: calls,
        windows: receiveWindows,
        guards: new GuardChain(services.guards),
        fieldOf: api.fieldOf,
        logger,
      }),
    ],
  });
  // The routes handle these methods. Without handlers here, a broken interceptor is visible as UNIMPLEMENTED.
  for (const service of api.services) server.addService(createServiceDefinition(service), {});
  const health = addHealth(server, api.services);
  addReflection(server, api.services);
  changeSettings(server, {
    initialWindowSize: ReceiveWindows.initialBytes(options),
    maxHeaderListSize: limits.headerListBytes,
  });
  const port = await bind(server, options.listen);
  connections.watch(server);
  const address = port === 0 ? options.listen : options.listen.replace(/:\d+$/, `:${port}`);

  let closed: Promise<void> | undefined;
  return {
    address,
    port,
    get streamCount() {
      return calls.streamCount;
    },
    get calls() {
      return {
        callCount: calls.callCount,
        connectionCount: peers.connectionCount,
        answerBytes: answers.bytes,
        streamAnswerBytes: streamAnswers.bytes,
        requestBytes: bodies.bytes,
        cutConnectionCount: peers.cutCount,
        refusals: calls.refusals,
      };
    },
    get promisedWindowBytes() {
      return receiveWindows.grantedBytes;
    },
    get isServing() {
      return health.isServing;
    },
    setServing: health.setServing,
    close() {
      closed ??= (async () => {
        health.setServing(false);
        // Health watchers get the news before their calls end.
        await setImmediate();
        server.tryShutdown(() => {});
        calls.drain(draining());
        const isAnswered = await within(clock, options.drainGraceMs, calls.allAnswered());
        // The rest are bytes for clients that may not be reading: the shutdown does not wait long for them.
        if (isAnswered) await within(clock, limits.lingerMs, connections.allClosed());
        connections.destroyAll();
        const allOver = Promise.all([calls.allAnswered(), connections.allClosed()]);
        if (!(await within(clock, limits.cutOffMs, allOver))) {
          logger.warn({ address }, 'connections were cut off and have not closed: continuing without them');
        }
        logger.info({ address }, 'stopped listening');
      })();
      return closed;
    },
  };
}

/**
 * grpc-js has one log for the process, and writes it to stderr. Its errors are also thrown or answered. Its traces
 * (GRPC_TRACE, GRPC_VERBOSITY) are logged at level debug.
 */
function logGrpc(logger: Logger): void {
  const log = (text: unknown) => logger.debug({ text }, 'grpc-js says');
  setLogger({ error: log, info: log, debug: log });
}

function bind(server: Server, listen: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(listen, ServerCredentials.createInsecure(), (cause, port) => {
      if (cause !== null) {
        const text = `can't listen on ${listen}: ${cause.message}`;
        reject(new SluiceError('INVALID_SETTING', text, { field: 'listen', cause }));
      } else resolve(listen.startsWith('unix:') ? 0 : port);
    });
  });
}

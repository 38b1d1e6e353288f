import type { StreamReceiver } from '../../api/call.js';
import type { Api, ApiMethod } from '../../api/methods.js';
import type { GuardedMethod } from '../guards/guard.js';
import type { DirectCall } from './direct-call.js';
import { methodPath } from './service-definition.js';
import { ServerStreamingCall, UnaryCall } from './single-request.js';

/** Creates the receiver of a call: what handles its requests. */
export type CreateReceiver = (call: DirectCall) => StreamReceiver;

/** A method of the API, as the transport serves it. */
export interface Route {
  readonly method: GuardedMethod;
  readonly createReceiver: CreateReceiver;
  /** The call may stay open for long: counts against the limit of streams. */
  readonly isStream: boolean;
  /**
   * The call takes one request, and the client's half is closed behind it. A call whose request does not arrive in
   * time is given up.
   */
  readonly hasOneRequest: boolean;
  readonly longestRequestBytes: number;
}

/** The methods of an API by their paths. */
export function routesOf({ methods }: Api): ReadonlyMap<string, Route> {
  return new Map(methods.map((entry) => [methodPath(entry.method), routeOf(entry)]));
}

function routeOf(entry: ApiMethod): Route {
  const { method } = entry;
  return {
    method: { path: methodPath(method), descriptor: method },
    createReceiver: createReceiverOf(entry),
    isStream: entry.kind !== 'unary',
    hasOneRequest: entry.kind === 'unary' || entry.kind === 'server_streaming',
    longestRequestBytes: entry.maxRequestBytes,
  };
}

function createReceiverOf(entry: ApiMethod): CreateReceiver {
  const { method } = entry;
  switch (entry.kind) {
    case 'unary':
      return (call) => new UnaryCall(call, method, entry.handler, entry.isLookup);
    case 'server_streaming':
      return (call) => new ServerStreamingCall(call, method, entry.handler);
    case 'client_streaming':
    case 'bidi_streaming':
      return entry.handler;
  }
}

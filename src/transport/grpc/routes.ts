import type { Api, ApiMethod } from '../../api/methods.js';
import type { OpenCall, Route } from './direct-call.js';
import { methodPath } from './service-definition.js';
import { ServerStreamingCall, UnaryCall } from './single-request.js';

/** The methods of an API by their paths. */
export function routesOf({ methods }: Api): ReadonlyMap<string, Route> {
  return new Map(methods.map((entry) => [methodPath(entry.method), routeOf(entry)]));
}

function routeOf(entry: ApiMethod): Route {
  const { method } = entry;
  return {
    method: { path: methodPath(method), descriptor: method },
    open: openerOf(entry),
    isStream: entry.kind !== 'unary',
    hasOneRequest: entry.kind === 'unary' || entry.kind === 'server_streaming',
    longestRequestBytes: entry.maxRequestBytes,
  };
}

function openerOf(entry: ApiMethod): OpenCall {
  const { method } = entry;
  switch (entry.kind) {
    case 'unary':
      return (call) => new UnaryCall(call, method, entry.handler);
    case 'server_streaming':
      return (call) => new ServerStreamingCall(call, method, entry.handler);
    case 'client_streaming':
    case 'bidi_streaming':
      return entry.handler;
  }
}

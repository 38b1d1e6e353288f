import {
  ServerInterceptingCall,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
} from '@grpc/grpc-js';
import { DelegatedCall } from './delegated-call.js';
import { type CallServices, DirectListener } from './direct-listener.js';
import { takeFramesAsTheyAre } from './grpc-js/framing.js';
import { dropMetadata } from './grpc-js/http2-sessions.js';
import type { Route } from './routes.js';

/** Routes calls of the broker's own services past grpc-js's handlers, and registers the other calls. */
export function createDirectCallInterceptor(services: CallServices): ServerInterceptor {
  const { table } = services;
  return (method, call) => {
    const route = table.route(method.path);
    return route === undefined
      ? new DelegatedCall(call, method, services)
      : new RoutedCall(call, route, services);
  };
}

class RoutedCall extends ServerInterceptingCall {
  readonly #base: ServerInterceptingCallInterface;
  readonly #listener: DirectListener;

  constructor(base: ServerInterceptingCallInterface, route: Route, services: CallServices) {
    super(base);
    takeFramesAsTheyAre(base);
    this.#base = base;
    this.#listener = new DirectListener(base, route, services);
    base.sendStatus = (status) => this.#listener.onGrpcStatus(status);
  }

  /** Does not start the listener of grpc-js, nor the object stream behind it. */
  override start(): void {
    this.#base.start(this.#listener);
    dropMetadata(this.#base);
  }
}

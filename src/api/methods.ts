import type {
  DescMessage,
  DescMethod,
  DescService,
  MessageInitShape,
  MessageShape,
} from '@bufbuild/protobuf';
import type { CallContext } from '../base/call-context.js';
import type { ErrorSubject } from '../base/errors.js';
import type { Call, RequestReceiver, StreamReceiver } from './call.js';

/** Answers one request with the response that it returns, or with the error that it throws. */
export type UnaryHandler<I extends DescMessage = DescMessage, O extends DescMessage = DescMessage> = (
  request: MessageShape<I>,
  context: CallContext,
) => MessageInitShape<O> | Promise<MessageInitShape<O>>;

export type ServerStreamingHandler<
  I extends DescMessage = DescMessage,
  O extends DescMessage = DescMessage,
> = (call: Call<O>) => RequestReceiver<I>;

/** For client streaming and for both directions. Requests come as bytes: nothing on the message path is decoded. */
export type ClientStreamingHandler<
  I extends DescMessage = DescMessage,
  O extends DescMessage = DescMessage,
> = (call: Call<O>) => StreamReceiver<I>;

interface Shape<K extends DescMethod['methodKind'], I, O> {
  readonly methodKind: K;
  readonly input: I;
  readonly output: O;
}

/** The handler of a method, typed by its descriptor. */
export type HandlerOf<M> =
  M extends Shape<'unary', infer I extends DescMessage, infer O extends DescMessage>
    ? UnaryHandler<I, O>
    : M extends Shape<'server_streaming', infer I extends DescMessage, infer O extends DescMessage>
      ? ServerStreamingHandler<I, O>
      : M extends Shape<
            'client_streaming' | 'bidi_streaming',
            infer I extends DescMessage,
            infer O extends DescMessage
          >
        ? ClientStreamingHandler<I, O>
        : never;

/** A handler for every method of a service. */
export type ServiceHandlers<S extends DescService> = {
  readonly [N in keyof S['method']]: HandlerOf<S['method'][N]>;
};

/** What a transport has to know of a method that its descriptor does not say. */
export interface MethodFacts {
  readonly maxRequestBytes: number;
  /** It changes nothing: if its answer can't be made, the process need not end. */
  readonly isLookup: boolean;
}

/** The facts of every method of a service. */
export type ServiceFacts<S extends DescService> = {
  readonly [N in keyof S['method']]: MethodFacts;
};

interface Entry<K extends DescMethod['methodKind'], H> extends MethodFacts {
  readonly kind: K;
  readonly method: DescMethod;
  readonly handler: H;
}

/** One row of the table of methods. `methodsOf` pairs the types of descriptor and handler; here they are erased. */
export type ApiMethod =
  | Entry<'unary', UnaryHandler>
  | Entry<'server_streaming', ServerStreamingHandler>
  | Entry<'client_streaming' | 'bidi_streaming', ClientStreamingHandler>;

/** All that a transport needs to serve the API. */
export interface Api {
  readonly services: readonly DescService[];
  readonly methods: readonly ApiMethod[];
  /** The path of the field of a request that says what the broker found at fault; undefined if it has none. */
  readonly fieldOf: (subject: ErrorSubject, request: DescMessage) => string | undefined;
}

/** The rows of one service. */
export function methodsOf<S extends DescService>(
  service: S,
  handlers: ServiceHandlers<S>,
  facts: ServiceFacts<S>,
): ApiMethod[] {
  return service.methods.map((method) => {
    const name = method.localName as keyof S['method'];
    return { kind: method.methodKind, method, handler: handlers[name], ...facts[name] } as ApiMethod;
  });
}

import {
  create,
  type DescMethod,
  type DescService,
  fromBinary,
  type MessageInitShape,
  toBinary,
} from '@bufbuild/protobuf';
import type { MethodDefinition } from '@grpc/grpc-js';

/** The `:path` of a call. */
export function methodPath({ name, parent }: Pick<DescMethod, 'name' | 'parent'>): string {
  return `/${parent.typeName}/${name}`;
}

/**
 * Converts a protobuf-es service for grpc-js. The server's half passes bytes: handlers decode requests themselves,
 * and answer with bytes. The client's half uses messages.
 */
export function createServiceDefinition(
  service: DescService,
): Record<string, MethodDefinition<object, object>> {
  const definition: Record<string, MethodDefinition<object, object>> = {};
  for (const method of service.methods) {
    const { methodKind, input, output } = method;
    definition[method.localName] = {
      path: methodPath(method),
      requestStream: methodKind === 'client_streaming' || methodKind === 'bidi_streaming',
      responseStream: methodKind === 'server_streaming' || methodKind === 'bidi_streaming',
      requestSerialize: (message) =>
        Buffer.from(toBinary(input, create(input, message as MessageInitShape<typeof input>))),
      responseDeserialize: (bytes) => fromBinary(output, bytes),
      requestDeserialize: (bytes) => bytes,
      responseSerialize: (bytes) => bytes as Buffer,
    };
  }
  return definition;
}

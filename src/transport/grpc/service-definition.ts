import {
  create,
  type DescMethod,
  type DescService,
  fromBinary,
  type MessageInitShape,
  toBinary,
} from '@bufbuild/protobuf';
import type { MethodDefinition } from '@grpc/grpc-js';

/** As it stands in the `:path` of a call. */
export function methodPath({ name, parent }: Pick<DescMethod, 'name' | 'parent'>): string {
  return `/${parent.typeName}/${name}`;
}

/**
 * A protobuf-es service as grpc-js knows services. The server's half passes bytes: its handlers decode, where they
 * decode at all, and answer with bytes. The client's half takes and gives messages.
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

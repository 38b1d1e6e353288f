import { type DescMethod, fromBinary, type MessageShape, toBinary } from '@bufbuild/protobuf';
import type { MethodDefinition, UntypedServiceImplementation } from '@grpc/grpc-js';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { connect, type SluiceClient } from '@sluice/client';
import { Admin, Broker } from '@sluice/client/api';

export interface FakeBroker {
  readonly target: string;
  readonly client: SluiceClient;
  close(): Promise<void>;
}

/** A server on a free port that knows the API and nothing else: each test says how its methods behave. */
export async function startFakeBroker(methods: UntypedServiceImplementation): Promise<FakeBroker> {
  const server = new Server();
  const definitions: Record<string, MethodDefinition<unknown, unknown>> = {};
  for (const service of [Broker, Admin]) {
    for (const [name, method] of Object.entries<DescMethod>(service.method)) {
      if (name in methods) definitions[name] = toDefinition(method);
    }
  }
  server.addService(definitions, methods);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  const target = `127.0.0.1:${port}`;
  const client = connect(target);
  return {
    target,
    client,
    async close() {
      client.close();
      server.forceShutdown();
    },
  };
}

function toDefinition(method: DescMethod): MethodDefinition<unknown, unknown> {
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    requestStream: method.methodKind === 'client_streaming' || method.methodKind === 'bidi_streaming',
    responseStream: method.methodKind === 'server_streaming' || method.methodKind === 'bidi_streaming',
    requestSerialize: () => Buffer.alloc(0),
    requestDeserialize: (bytes) => fromBinary(method.input, bytes),
    responseSerialize: (message) =>
      Buffer.from(toBinary(method.output, message as MessageShape<typeof method.output>)),
    responseDeserialize: (bytes) => bytes,
  };
}

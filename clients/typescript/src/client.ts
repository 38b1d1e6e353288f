import type { GenService, GenServiceMethods } from '@bufbuild/protobuf/codegenv2';
import { Client } from '@grpc/grpc-js';
import { createServiceClient, type ServiceClient } from './calls.js';
import { Admin } from './gen/sluice/v1/admin_pb.js';
import { Broker } from './gen/sluice/v1/broker_pb.js';
import { type ConnectOptions, toChannelOptions, toCredentials } from './options.js';

/** What a generated service consists of. */
type MethodsOf<S> = S extends GenService<infer M extends GenServiceMethods> ? M : never;

export interface SluiceClient {
  /** Produce and consume. */
  readonly broker: ServiceClient<MethodsOf<typeof Broker>>;
  /** Topics, subscriptions, and looking inside. */
  readonly admin: ServiceClient<MethodsOf<typeof Admin>>;
  /** Ends the connection once the calls under way are over. */
  close(): void;
}

/**
 * A client of the broker at `target` (`host:port`, or any gRPC name). Connects with the first call: what can't be
 * reached makes that call fail with UNAVAILABLE.
 */
export function connect(target: string, options: ConnectOptions = {}): SluiceClient {
  const client = new Client(target, toCredentials(options.tls), toChannelOptions(target, options));
  return {
    broker: createServiceClient(Broker, client, options),
    admin: createServiceClient(Admin, client, options),
    close: () => client.close(),
  };
}

import type { DescMethod } from '@bufbuild/protobuf';
import type { GenService, GenServiceMethods } from '@bufbuild/protobuf/codegenv2';
import type { ByteStream, ServiceClient } from './calls.js';
import type { ConnectionStates } from './connection-states.js';
import type { Admin } from './gen/sluice/v1/admin_pb.js';
import type { Broker } from './gen/sluice/v1/broker_pb.js';

/** What a generated service consists of. */
type MethodsOf<S> = S extends GenService<infer M extends GenServiceMethods> ? M : never;

/** What producers and consumers need of a `Client`. */
export interface BrokerAccess {
  /** Produce and consume, call by call. */
  readonly broker: ServiceClient<MethodsOf<typeof Broker>>;
  /** Topics, subscriptions, and looking inside. */
  readonly admin: ServiceClient<MethodsOf<typeof Admin>>;
  /** @internal */
  readonly connectionStates: ConnectionStates;
  /** @internal */
  openBytes(method: DescMethod): ByteStream;
}

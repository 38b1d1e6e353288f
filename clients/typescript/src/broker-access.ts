import type { DescMethod } from '@bufbuild/protobuf';
import type { GenService, GenServiceMethods } from '@bufbuild/protobuf/codegenv2';
import type { ByteStream, ServiceClient } from './calls.js';
import type { ConnectionStates } from './connection-states.js';
import type { Admin } from './gen/sluice/v1/admin_pb.js';
import type { Broker } from './gen/sluice/v1/broker_pb.js';

/** The parts of a generated service. */
type MethodsOf<S> = S extends GenService<infer M extends GenServiceMethods> ? M : never;

/** The parts of a `Client` that producers and consumers use. */
export interface BrokerAccess {
  /** The calls of producers and consumers. */
  readonly broker: ServiceClient<MethodsOf<typeof Broker>>;
  /** Manages topics and subscriptions, and inspects the broker. */
  readonly admin: ServiceClient<MethodsOf<typeof Admin>>;
  /** @internal */
  readonly connectionStates: ConnectionStates;
  /** @internal */
  openBytes(method: DescMethod): ByteStream;
}

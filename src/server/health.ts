import type { Server } from '@grpc/grpc-js';
import { HealthImplementation } from 'grpc-health-check';
import { Admin } from '../gen/sluice/v1/admin_pb.js';
import { Broker } from '../gen/sluice/v1/broker_pb.js';

/** The server as a whole, and each of its services. */
const healthNames = ['', Broker.typeName, Admin.typeName];

export interface Health {
  readonly isServing: boolean;
  setServing(isServing: boolean): void;
}

/** The standard health service, for probes and load balancers. Not serving until told otherwise. */
export function addHealth(server: Server): Health {
  const health = new HealthImplementation();
  let isServing = false;
  const setServing = (value: boolean) => {
    isServing = value;
    for (const name of healthNames) health.setStatus(name, isServing ? 'SERVING' : 'NOT_SERVING');
  };
  setServing(false);
  health.addToServer(server);
  return {
    get isServing() {
      return isServing;
    },
    setServing,
  };
}

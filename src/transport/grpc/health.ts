import type { DescService } from '@bufbuild/protobuf';
import type { Server } from '@grpc/grpc-js';
import { HealthImplementation } from 'grpc-health-check';
import { forgetWatchedNames } from './grpc-js/health-watchers.js';

export interface Health {
  readonly isServing: boolean;
  setServing(isServing: boolean): void;
}

/** The standard health service, for probes and load balancers. It reports NOT_SERVING until `setServing`. */
export function addHealth(server: Server, services: readonly DescService[]): Health {
  // The server as a whole, and each of its services.
  const names = ['', ...services.map(({ typeName }) => typeName)];
  const health = new HealthImplementation();
  forgetWatchedNames(health);
  let isServing = false;
  const setServing = (value: boolean) => {
    isServing = value;
    for (const name of names) health.setStatus(name, isServing ? 'SERVING' : 'NOT_SERVING');
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

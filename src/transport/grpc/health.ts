import type { DescService } from '@bufbuild/protobuf';
import type { Server } from '@grpc/grpc-js';
import { HealthImplementation } from 'grpc-health-check';
import { invariant } from '../../base/invariant.js';

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

/**
 * The library keeps each name that a client has ever watched. This forgets a name with its last watcher. Both
 * fields are private ones of grpc-health-check 2.1. If they change, `test/unit/transport/grpc/health.test.ts`
 * fails.
 */
export function forgetWatchedNames(health: HealthImplementation): ReadonlyMap<string, unknown> {
  const opened = health as unknown as {
    readonly watchers: Map<string, Set<unknown>>;
    removeWatcher: (name: string, watcher: unknown) => void;
  };
  const { watchers } = opened;
  invariant(
    watchers instanceof Map && typeof opened.removeWatcher === 'function',
    'this release of grpc-health-check keeps its watchers elsewhere',
  );
  opened.removeWatcher = (name, watcher) => {
    const others = watchers.get(name);
    others?.delete(watcher);
    if (others?.size === 0) watchers.delete(name);
  };
  return watchers;
}

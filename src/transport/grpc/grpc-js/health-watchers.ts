import type { HealthImplementation } from 'grpc-health-check';
import { invariant } from '../../../base/invariant.js';

/**
 * The library keeps each name that a client has ever watched. This forgets a name with its last watcher. Both
 * fields are private ones of grpc-health-check 2.1. If they change, `test/unit/transport/grpc/grpc-js/health-watchers.test.ts`
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

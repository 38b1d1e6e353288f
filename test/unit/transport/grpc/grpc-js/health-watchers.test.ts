import assert from 'node:assert/strict';
import { HealthImplementation } from 'grpc-health-check';
import { forgetWatchedNames } from '../../../../../src/transport/grpc/grpc-js/health-watchers.js';

describe('the health service', () => {
  it('forgets a name that clients watched with the last of them', () => {
    const health = new HealthImplementation();
    const watched = forgetWatchedNames(health);
    const opened = health as unknown as {
      addWatcher(name: string, watcher: () => void): void;
      removeWatcher(name: string, watcher: () => void): void;
    };
    const [first, second] = [() => {}, () => {}];
    opened.addWatcher('any', first);
    opened.addWatcher('any', second);
    opened.removeWatcher('any', first);
    assert.deepEqual([...watched.keys()], ['any']);
    opened.removeWatcher('any', second);
    assert.deepEqual([...watched.keys()], []);
    opened.removeWatcher('any', second);
  });
});

import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { systemClock } from '../../../src/base/clock.js';
import { type Logger, silentLogger } from '../../../src/base/logger.js';
import { loadSettings } from '../../../src/config/load.js';
import { startNode } from '../../../src/node/node.js';
import { makeDirectory } from '../../integration/storage/harness.js';

describe('startNode', () => {
  it('closes the store if the broker on it can not be created', async () => {
    const directory = await makeDirectory();
    const settings = loadSettings({
      flags: { 'data-dir': directory, listen: '127.0.0.1:0' },
      env: {},
      readFile: () => '',
    });
    let isStoreOpen = false;
    let hasFailed = false;
    const logger: Logger = {
      ...silentLogger,
      info: (_fields, message) => {
        if (message === 'store opened') isStoreOpen = true;
      },
    };
    const clock = {
      ...systemClock,
      wallMs() {
        if (!isStoreOpen || hasFailed) return systemClock.wallMs();
        hasFailed = true;
        throw new Error('no broker');
      },
    };
    await assert.rejects(startNode(settings, { version: 'test', clock, logger }), /no broker/);
    assert(hasFailed);
    // The store is locked while it is open.
    const node = await startNode(settings, { version: 'test', clock: systemClock, logger: silentLogger });
    assert.equal(await node.close(), true);
    await rm(directory, { recursive: true });
  });
});

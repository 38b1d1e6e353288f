import assert from 'node:assert/strict';
import { SluiceError } from '../../../src/base/errors.js';
import { limits } from '../../../src/base/limits.js';
import { describeSettings } from '../../../src/config/help.js';
import { loadSettings, type SettingSources } from '../../../src/config/load.js';

function load(sources: Partial<SettingSources> & { file?: string } = {}) {
  return loadSettings({
    flags: sources.flags ?? {},
    env: sources.env ?? {},
    readFile(path) {
      if (sources.file === undefined) throw new Error(`ENOENT: no such file: ${path}`);
      return sources.file;
    },
  });
}

/** The faults that loading reports, one a line. */
function faultsOf(sources: Parameters<typeof load>[0]): string[] {
  try {
    load(sources);
  } catch (error) {
    assert(error instanceof SluiceError);
    assert.equal(error.reason, 'INVALID_SETTING');
    return error.message.split('\n');
  }
  throw new assert.AssertionError({ message: 'nothing was refused' });
}

describe('settings', () => {
  it('have defaults from the table of limits', () => {
    const settings = load();
    assert.equal(settings.listen, '127.0.0.1:7070');
    assert.equal(settings.maxMessageBytes, limits.maxMessageBytes);
    assert.equal(settings.ackDeadlineMs, limits.defaultAckDeadlineMs);
    assert.equal(settings.defaultDurability, 'synced');
  });

  it('come from flag over environment over file over default', () => {
    const file = JSON.stringify({ 'max-streams': 1, 'concurrent-reads': 1, 'log-level': 'warn' });
    const env = { SLUICE_MAX_STREAMS: '2', SLUICE_CONCURRENT_READS: '2' };
    const settings = load({ flags: { config: 'sluice.json', 'max-streams': '3' }, env, file });
    assert.equal(settings.maxStreams, 3);
    assert.equal(settings.concurrentReads, 2);
    assert.equal(settings.logLevel, 'warn');
    assert.equal(settings.tailBytes, limits.tailBytes);
  });

  it('take the file from the environment too, with plain JSON values', () => {
    const file = JSON.stringify({ 'auto-create-topics': false, 'tail-bytes': 1024, 'ack-deadline': '5s' });
    const settings = load({ env: { SLUICE_CONFIG: '/etc/sluice.json' }, file });
    assert.equal(settings.autoCreateTopics, false);
    assert.equal(settings.tailBytes, 1024);
    assert.equal(settings.ackDeadlineMs, 5000);
  });

  it('report every fault at once, each with its source', () => {
    const faults = faultsOf({
      flags: { config: 'x', 'max-streams': 'many', 'dta-dir': '/tmp' },
      env: { SLUICE_LISTN: 'x', SLUICE_ACK_DEADLINE: '30' },
      file: JSON.stringify({ 'log-level': 'loud', colour: true }),
    });
    assert.deepEqual(faults.toSorted(), [
      '"colour" in the configuration file is not a setting',
      '"log-level" in the configuration file must be one of debug, info, warn, error; it is "loud"',
      '--dta-dir is not a setting: did you mean --data-dir?',
      '--max-streams must be a whole number; it is "many"',
      'SLUICE_ACK_DEADLINE must be a duration with its unit, such as 500ms, 30s or 2h; it is "30"',
      'SLUICE_LISTN is not a setting: did you mean SLUICE_LISTEN?',
    ]);
  });

  it('report a file that is missing, is no JSON, or is no object', () => {
    assert.match(faultsOf({ flags: { config: 'gone.json' } })[0]!, /gone\.json can't be read: ENOENT/);
    assert.match(faultsOf({ flags: { config: 'x' }, file: '{' })[0]!, /can't be read/);
    assert.match(faultsOf({ flags: { config: 'x' }, file: '[]' })[0]!, /must hold one JSON object/);
  });

  it('report values that contradict each other', () => {
    const faults = faultsOf({ flags: { 'max-message-bytes': '8MiB', 'connection-window-bytes': '512KiB' } });
    assert.equal(faults.length, 2);
    assert.match(faults[0]!, /--max-message-bytes is more than --max-request-bytes/);
  });

  it('pass over what Kubernetes and Docker say about a service named sluice', () => {
    const env = {
      SLUICE_SERVICE_HOST: '10.0.0.1',
      SLUICE_SERVICE_PORT: '7070',
      SLUICE_SERVICE_PORT_GRPC: '7070',
      SLUICE_PORT: 'tcp://10.0.0.1:7070',
      SLUICE_PORT_7070_TCP_ADDR: '10.0.0.1',
      SLUICE_SERVER: 'elsewhere:7070',
    };
    assert.equal(load({ env }).listen, '127.0.0.1:7070');
    assert.equal(faultsOf({ env: { SLUICE_PORTS: '1' } }).length, 1);
  });

  it('are frozen', () => {
    const settings = load() as { listen: string };
    assert.throws(() => {
      settings.listen = 'elsewhere:1';
    }, TypeError);
  });

  it('have defaults that their own kinds accept, under distinct names', () => {
    const help = describeSettings();
    const flags = Object.fromEntries(help.map(({ flag, fallbackText }) => [flag, fallbackText]));
    assert.deepEqual(load({ flags }), load());
    assert.equal(Object.keys(flags).length, help.length);
  });
});

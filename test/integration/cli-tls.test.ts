import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { useBroker } from '../support/broker-process.js';
import { execCli } from '../support/cli-process.js';
import { startTlsProxy, TestAuthority } from '../support/tls-proxy.js';

const brokerName = 'localhost';

describe('the command line and TLS', function () {
  this.slow(20_000);
  const broker = useBroker();
  let directory: string;
  let authority: TestAuthority;
  let proxy: Awaited<ReturnType<typeof startTlsProxy>>;
  let caPath: string;

  before(async function () {
    directory = mkdtempSync(join(tmpdir(), 'sluice-cli-tls-'));
    try {
      authority = new TestAuthority();
    } catch (error) {
      if (process.env.CI === 'true') throw error;
      this.skip();
    }
    caPath = join(directory, 'ca.pem');
    writeFileSync(caPath, authority.certificate);
    proxy = await startTlsProxy(broker.address, authority.issue(brokerName));
  });
  after(() => {
    proxy?.close();
    authority?.dispose();
    rmSync(directory, { recursive: true, force: true });
  });

  const portOf = (address: string) => address.slice(address.lastIndexOf(':') + 1);

  it('calls a broker whose authority and name are right', async () => {
    const args = ['info', '--server', `${brokerName}:${portOf(proxy.address)}`, '--tls-ca', caPath];
    const { exitCode, stderr } = await execCli(broker.address, args);
    assert.equal(stderr, '');
    assert.equal(exitCode, 0);
  });

  it('names the host that a certificate is not for, and those that it is for', async () => {
    const other = await startTlsProxy(broker.address, authority.issue('broker.internal'));
    const server = `${brokerName}:${portOf(other.address)}`;
    const { exitCode, stderr } = await execCli(server, ['info', '--tls-ca', caPath]);
    other.close();
    assert.equal(exitCode, 3);
    const names = `the broker's certificate is not for ${brokerName}, but for DNS:broker.internal`;
    assert.equal(stderr.split('\n')[0], `sluice: can't connect to ${server}: ${names} (UNAVAILABLE)`);
  });

  // Each way that a command may call first: a call with one answer, and streams.
  for (const command of [['info'], ['read', 't'], ['subscribe', 't', 's'], ['publish', 't']]) {
    /** What the command says, in lines. */
    async function fails(server: string, ...args: string[]): Promise<string[]> {
      const { exitCode, stdout, stderr } = await execCli(server, [...command, ...args]);
      assert.equal(exitCode, 3, stderr);
      assert.equal(stdout.toString(), '');
      return stderr.trimEnd().split('\n');
    }

    it(`says what is wrong, where, and what helps: ${command.join(' ')}`, async () => {
      const { address } = proxy;
      assert.deepEqual(await fails(address), [
        `sluice: the broker at ${address} speaks TLS, and this client does not (UNAVAILABLE)`,
        '  connect with --tls, or with --tls-ca <file> where its certificate is of an authority of your own',
      ]);
      assert.deepEqual(await fails(broker.address, '--tls'), [
        `sluice: the broker at ${broker.address} does not speak TLS (UNAVAILABLE)`,
        '  leave out --tls and --tls-ca, or name a port that speaks TLS with --server',
      ]);
      const [unknown, authorityHint] = await fails(address, '--tls');
      const untrusted = `sluice: can't connect to ${address}: the broker's certificate is not trusted: `;
      assert(unknown!.startsWith(untrusted), unknown);
      assert.equal(
        authorityHint,
        '  name the authority that issued the certificate of the broker with --tls-ca <file>',
      );
      const [misnamed, nameHint] = await fails(address, '--tls-ca', caPath);
      const notFor = "the broker's certificate is not for 127.0.0.1";
      assert.equal(misnamed, `sluice: can't connect to ${address}: ${notFor} (UNAVAILABLE)`);
      assert.equal(nameHint, '  name the broker with --server as its certificate does');
    });
  }

  it('refuses an authority that is none', async () => {
    const none = await execCli(proxy.address, ['info', '--tls-ca', join(directory, 'none.pem')]);
    assert.equal(none.exitCode, 2);
    assert.match(none.stderr, /^sluice: --tls-ca .*none\.pem can't be read: ENOENT/);
    const path = join(directory, 'text.pem');
    writeFileSync(path, 'no certificate');
    const text = await execCli(proxy.address, ['info', '--tls-ca', path]);
    assert.equal(text.exitCode, 2);
    assert.match(text.stderr, /^sluice: --tls-ca .*text\.pem holds no certificate/);
  });
});

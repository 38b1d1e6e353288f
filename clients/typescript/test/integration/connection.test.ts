import assert from 'node:assert/strict';
import { type ConnectOptions, connect } from '@sluice/client';
import { ClientBroker } from '../../../../test/support/client-broker.js';
import type { TcpProxy } from '../../../../test/support/tcp-proxy.js';
import { startTlsProxy, TestAuthority } from '../../../../test/support/tls-proxy.js';

const brokerName = 'broker.internal';

describe('the connection of the TypeScript client', () => {
  const sluice = ClientBroker.use();
  let authority: TestAuthority;
  const proxies: TcpProxy[] = [];
  before(function () {
    try {
      authority = new TestAuthority();
    } catch (error) {
      if (process.env.CI === 'true') throw error;
      console.warn('      skipped: there is no openssl to make certificates');
      this.skip();
    }
  });
  after(() => {
    for (const proxy of proxies) proxy.close();
    authority?.dispose();
  });

  async function startProxy(clientAuthority?: Buffer): Promise<string> {
    const proxy = await startTlsProxy(sluice.broker.address, authority.issue(brokerName), clientAuthority);
    proxies.push(proxy);
    return proxy.address;
  }

  /** What comes through such a connection, there and back. */
  async function sendAndReceive(
    address: string,
    options: ConnectOptions,
    retryTimeoutMs = 30_000,
  ): Promise<string> {
    const client = connect(address, options);
    try {
      const topic = `topic-${proxies.length}`;
      const producer = await client.producer({ topic, retryTimeoutMs });
      await producer.send({ payload: 'through' });
      await producer.close();
      for await (const delivery of client.consumer({ topic, subscription: 's' })) {
        await delivery.ack();
        return delivery.payload.toString();
      }
      return 'nothing';
    } finally {
      client.close();
    }
  }

  it('speaks TLS, and takes the name of the broker from its certificate', async () => {
    const tls = { ca: authority.certificate, serverName: brokerName };
    assert.equal(await sendAndReceive(await startProxy(), { tls }), 'through');
  });

  it('shows its own certificate where it is asked to', async () => {
    const tls = { ca: authority.certificate, serverName: brokerName, ...authority.issue('till-4') };
    assert.equal(await sendAndReceive(await startProxy(authority.certificate), { tls }), 'through');
  });

  it('trusts no other authority, no other name, and no broker that asks for a client certificate', async () => {
    const address = await startProxy();
    const strict = await startProxy(authority.certificate);
    const trusted = { ca: authority.certificate, serverName: brokerName };
    const refused: [string, ConnectOptions['tls']][] = [
      [address, true],
      [address, { ...trusted, serverName: 'else.internal' }],
      [strict, trusted],
    ];
    for (const [target, tls] of refused) {
      await assert.rejects(sendAndReceive(target, tls === undefined ? {} : { tls }, 300), {
        reason: 'UNAVAILABLE',
      });
    }
  });
});

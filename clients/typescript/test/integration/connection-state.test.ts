import assert from 'node:assert/strict';
import { type ConnectionState, type ConnectOptions, connect } from '@sluice/client';
import { ClientBroker } from '../../../../test/support/client-broker.js';
import { freePort } from '../../../../test/support/free-port.js';
import { HoldingProxy } from '../../../../test/support/holding-proxy.js';
import { Inbox } from '../../../../test/support/inbox.js';
import { publish } from '../../../../test/support/producer.js';
import { startTlsProxy, TestAuthority } from '../../../../test/support/tls-proxy.js';

const brokerName = 'broker.internal';
/** Keepalive of the defaults, with time for a machine that is busy. */
const silenceLimitMs = 60_000;

describe('the state of the connection of the TypeScript client', () => {
  const sluice = ClientBroker.use();

  /** A client, and every state that it reports. */
  function watched(address: string, options: ConnectOptions = {}) {
    const states = new Inbox<ConnectionState>();
    const client = connect(address, { ...options, onConnectionState: (state) => states.push(state) });
    return { client, states };
  }

  async function next(
    states: Inbox<ConnectionState>,
    kind: ConnectionState['kind'],
  ): Promise<ConnectionState> {
    for (;;) {
      const state = await states.next();
      if (state.kind === kind) return state;
    }
  }

  /** The first cause that a consumer's client reports. */
  async function causeAt(address: string, options: ConnectOptions = {}): Promise<string> {
    const { client, states } = watched(address, options);
    const consumer = client.consumer({ topic: 't', subscription: 's' });
    const running = consumer.run(() => {});
    const state = await next(states, 'waiting');
    assert(state.kind === 'waiting');
    await consumer.close();
    await running;
    client.close();
    assert.equal((await next(states, 'closed')).kind, 'closed');
    return state.cause;
  }

  it('says at the first failure why run does not begin, and when it tries again', async () => {
    const address = sluice.broker.address;
    await sluice.createTopic('away');
    await publish(sluice.client, 'away', ['m']);
    await sluice.broker.kill();
    const { client, states } = watched(address);
    const consumer = client.consumer({ topic: 'away', subscription: 's' });
    const running = consumer.run(() => void consumer.close());
    assert.equal((await states.next()).kind, 'connecting');
    const waiting = await states.next();
    assert(waiting.kind === 'waiting');
    assert.equal(waiting.cause, `nothing listens at ${address}`);
    assert.equal(waiting.error?.reason, 'UNAVAILABLE');
    assert(waiting.nextAttemptInMs !== undefined && waiting.nextAttemptInMs <= 50, 'it goes on trying');
    await sluice.broker.start();
    await next(states, 'ready');
    await running;
    client.close();
    await next(states, 'closed');
  });

  it('names what is wrong in plain words', async function () {
    const nowhere = `127.0.0.1:${await freePort()}`;
    assert.equal(await causeAt(nowhere, { tls: true }), `nothing listens at ${nowhere}`);
    const unknown = 'no-such-host.invalid';
    assert.equal(await causeAt(`${unknown}:7070`), `the name ${unknown} cannot be resolved`);
    const { address } = sluice.broker;
    assert.equal(await causeAt(address, { tls: true }), `the broker at ${address} does not speak TLS`);
    let authority: TestAuthority;
    try {
      authority = new TestAuthority();
    } catch (error) {
      if (process.env.CI === 'true') throw error;
      this.skip();
    }
    const proxy = await startTlsProxy(address, authority.issue(brokerName));
    const named = `the broker at ${proxy.address} speaks TLS, and this client does not`;
    assert.equal(await causeAt(proxy.address), named);
    const untrusted = /^the broker's certificate is not trusted: .*(self.signed|unable to (get|verify))/;
    assert.match(await causeAt(proxy.address, { tls: true }), untrusted);
    const misnamed = { ca: authority.certificate, serverName: 'else.internal' };
    assert.match(await causeAt(proxy.address, { tls: misnamed }), /not trusted: .*else\.internal/);
    proxy.close();
    authority.dispose();
  });

  it('says that the connection was lost, and that a producer and a consumer have it again', async () => {
    const { client, states } = watched(sluice.broker.address);
    const producer = await client.producer({ topic: 'lost' });
    await producer.send({ payload: 'm' });
    await next(states, 'ready');
    await sluice.broker.restart();
    const waiting = await next(states, 'waiting');
    assert(waiting.kind === 'waiting');
    assert.equal(waiting.cause, `the connection to ${sluice.broker.address} was lost`);
    await producer.send({ payload: 'm' });
    await next(states, 'ready');
    await producer.close();
    client.close();
  });

  it('is waiting soon after the connection has died without a word, and all goes on over a new one', async function () {
    this.timeout(3 * silenceLimitMs);
    const topic = 'silent';
    await sluice.createTopic(topic);
    const proxy = await HoldingProxy.start(sluice.broker.address);
    const { client, states } = watched(proxy.address);
    const received = new Inbox<string>();
    const consumer = client.consumer({ topic, subscription: 's' });
    const running = consumer.run(({ payload }) => received.push(payload.toString()));
    const producer = await client.producer({ topic });
    await producer.send({ payload: 'before' });
    assert.equal(await received.next(), 'before');
    // This one has no call open.
    const idle = watched(proxy.address);
    await idle.client.admin.getServerInfo({});
    await next(idle.states, 'ready');
    // And this one never gets an answer: its first connection is silent from the beginning.
    proxy.silentCount = 1;
    const unopened = watched(proxy.address);
    const opening = unopened.client.consumer({ topic, subscription: 'other', consumerId: 'unopened' });
    const opened = opening.run(() => void opening.close());
    await next(unopened.states, 'connecting');
    while (proxy.silentCount > 0) await new Promise((resolve) => setImmediate(resolve));
    let isLate = false;
    const late = setTimeout(() => {
      isLate = true;
    }, silenceLimitMs);
    proxy.hold();
    const unanswered = client.admin.getServerInfo({});
    const sent = producer.send({ payload: 'after' });
    await assert.rejects(unanswered, { reason: 'UNAVAILABLE' });
    const waiting = await next(states, 'waiting');
    assert(waiting.kind === 'waiting');
    assert.equal(waiting.cause, `the connection to ${proxy.address} was lost`);
    await sent;
    while ((await received.next()) !== 'after');
    await next(idle.states, 'waiting');
    const silent = await next(unopened.states, 'waiting');
    assert(silent.kind === 'waiting');
    assert.equal(silent.cause, `${proxy.address} does not answer`);
    await opened;
    clearTimeout(late);
    assert.equal(isLate, false, 'it took longer than the pings say');
    await consumer.close();
    await running;
    await producer.close();
    client.close();
    idle.client.close();
    unopened.client.close();
    proxy.close();
  });
});

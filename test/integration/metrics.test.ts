import assert from 'node:assert/strict';
import { connect, type SluiceClient } from '@sluice/client';
import { BacklogLimit_WhenFull as WhenFull } from '@sluice/client/api';
import { useBroker } from '../support/broker-process.js';
import { ack, deadLetter, TestConsumer } from '../support/consumer.js';
import { PressingProducer, untilHeld } from '../support/pressing-producer.js';
import { publish, texts } from '../support/producer.js';
import { RawConnection } from '../support/raw-grpc.js';
import { createLimitedTopic } from '../support/topics.js';

describe('metrics and probes over HTTP', () => {
  const broker = useBroker({ args: ['--metrics-listen', '127.0.0.1:0'] });
  let client: SluiceClient;
  let url: string;
  before(() => {
    client = connect(broker.address);
    const line = broker
      .tail()
      .split('\n')
      .find((each) => each.includes('serving metrics'));
    url = `http://${JSON.parse(line ?? '{}').address}`;
  });
  after(() => client.close());

  /** Every sample by its name with its labels, as they stand in the text. */
  async function samples(): Promise<Map<string, number>> {
    const response = await fetch(`${url}/metrics`);
    assert.equal(response.status, 200);
    assert.match(response.headers.get('content-type') ?? '', /^text\/plain/);
    const lines = (await response.text()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
    return new Map(
      lines.map((line) => {
        const at = line.lastIndexOf(' ');
        return [line.slice(0, at), Number(line.slice(at + 1))];
      }),
    );
  }

  it('counts what is published, delivered, settled and given up', async () => {
    const before = await samples();
    await publish(client, 'counted', texts('m', 5));
    const consumer = await TestConsumer.open(client, { topic: 'counted', subscription: 's' });
    const messages = await consumer.take(5);
    await consumer.settle(messages.slice(0, 3), ack);
    await consumer.settle(messages.slice(3, 4), deadLetter('no'));
    const after = await samples();
    const grown = (name: string) => after.get(`sluice_${name}_total`)! - before.get(`sluice_${name}_total`)!;
    assert.equal(grown('published_messages'), 5);
    assert(grown('published_bytes') > 10);
    assert.equal(grown('delivered_messages'), 5);
    assert.equal(grown('settled_messages'), 4);
    assert.equal(grown('dead_lettered_messages'), 1);
    const labels = 'topic="counted",subscription="s"';
    assert.equal(after.get(`sluice_subscription_backlog_messages{${labels}}`), 1);
    assert.equal(after.get(`sluice_subscription_outstanding_messages{${labels}}`), 1);
    assert.equal(after.get('sluice_consumers{waits_for="caughtUp"}'), 1);
    assert(after.get('process_resident_memory_bytes')! > 0);
    consumer.close();
  });

  it('says what holds producers, and for how long', async () => {
    await createLimitedTopic(client, { name: 'full', maxMessages: 1, whenFull: WhenFull.BLOCK }, 's');
    const connection = await RawConnection.connect(broker.address);
    const producer = new PressingProducer(connection, { topic: 'full', requestBytes: 16_384 });
    await untilHeld([producer], () => client.admin.getServerInfo({}));
    const seconds = 'sluice_producers_held_seconds_total{held_by="backlog"}';
    const first = await samples();
    assert.equal(first.get('sluice_producers{held_by="backlog"}'), 1);
    assert(first.get('sluice_promised_window_bytes')! >= 65_536);
    assert(first.get('sluice_spare_bytes')! >= 0);
    const second = await samples();
    assert(second.get(seconds)! > first.get(seconds)!, 'the time of who is held does not grow');
    connection.destroy();
    for (let held = 1; held > 0; held = (await samples()).get('sluice_producers{held_by="backlog"}') ?? 0);
    assert((await samples()).get(seconds)! >= second.get(seconds)!, 'what is over is forgotten');
  });

  it('answers probes, and nothing else', async () => {
    assert.equal((await fetch(`${url}/livez`)).status, 200);
    assert.equal((await fetch(`${url}/readyz`)).status, 200);
    assert.equal((await fetch(`${url}/`)).status, 404);
    assert.equal((await fetch(`${url}/metrics`, { method: 'POST' })).status, 405);
  });
});

import assert from 'node:assert/strict';
import { connect } from '@sluice/client';
import { useBroker } from '../../support/broker-process.js';
import { deliveredOf } from '../../support/consumer.js';
import { publish, texts } from '../../support/producer.js';

describe('read', () => {
  const broker = useBroker();

  it('ends at its limit, also where several partitions are read from the disk at once', async () => {
    const client = connect(broker.address);
    await client.admin.createTopic({ topic: { name: 'limited', partitionCount: 4 } });
    for (const partition of [0, 1, 2, 3]) await publish(client, 'limited', texts('m', 50), partition);
    client.close();
    await broker.restart();
    const after = connect(broker.address);
    for (const limit of [1, 49, 50, 51, 199, 200, 201]) {
      let count = 0;
      for await (const { runs } of after.broker.read({ topic: 'limited', limit: BigInt(limit) })) {
        count += deliveredOf(runs).length;
      }
      assert.equal(count, Math.min(limit, 200));
    }
    after.close();
  });
});

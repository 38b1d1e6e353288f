import type { CallOptions } from '../calls.js';
import type { Client } from '../client.js';
import { SluiceError } from '../errors.js';

/** Where a producer stands; at the beginning where the broker knows neither it nor its topic. */
export async function positionOf(
  client: Client,
  topic: string,
  producerId: string,
  options: CallOptions = {},
): Promise<{ readonly epoch: bigint; readonly lastSequence: bigint }> {
  try {
    return await client.broker.getProducer({ topic, producerId }, options);
  } catch (thrown) {
    const error = SluiceError.from(thrown);
    if (error.reason !== 'PRODUCER_NOT_FOUND' && error.reason !== 'TOPIC_NOT_FOUND') throw error;
    return { epoch: 0n, lastSequence: 0n };
  }
}

/** A topic that is not there yet will be made with one. */
export async function partitionCountOf(client: Client, topic: string): Promise<number> {
  try {
    const found = await client.admin.getTopic({ name: topic });
    return found.topic?.partitionCount ?? 1;
  } catch (thrown) {
    const error = SluiceError.from(thrown);
    if (error.reason !== 'TOPIC_NOT_FOUND') throw error;
    return 1;
  }
}

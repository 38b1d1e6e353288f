import { type Client, connect } from '@sluice/client';
import { Ordering } from '@sluice/client/api';
import { BrokerProcess, showLogOnFailure } from './broker-process.js';
import { freePort } from './free-port.js';

/** A broker that keeps its address over restarts, and a client of it, for the tests of a suite. */
export class ClientBroker {
  #broker: BrokerProcess | undefined;
  #client: Client | undefined;

  /** Started before the first test and removed after the last. */
  static use(): ClientBroker {
    const both = new ClientBroker();
    before(async () => {
      const listen = ['--listen', `127.0.0.1:${await freePort()}`];
      both.#broker = await BrokerProcess.start({ args: listen });
      both.#client = connect(both.#broker.address);
    });
    showLogOnFailure(() => both.#broker);
    after(async () => {
      both.#client?.close();
      await both.#broker?.dispose();
    });
    return both;
  }

  get broker(): BrokerProcess {
    return this.#broker!;
  }

  get client(): Client {
    return this.#client!;
  }

  /** A topic with one subscription, `s`. */
  async createTopic(
    topic: string,
    { partitionCount = 1, ordering = Ordering.PARTITION, ackDeadlineMs = 30_000, maxAttempts = 10 } = {},
  ): Promise<void> {
    await this.client.admin.createTopic({ topic: { name: topic, partitionCount } });
    const seconds = BigInt(Math.floor(ackDeadlineMs / 1000));
    const ackDeadline = { seconds, nanos: (ackDeadlineMs % 1000) * 1e6 };
    const deadLetter = { maxAttempts };
    const retry = { minBackoff: { nanos: 10e6 }, maxBackoff: { nanos: 20e6 } };
    await this.client.admin.createSubscription({
      subscription: { topic, name: 's', ordering, ackDeadline, deadLetter, retry },
    });
  }

  /** Messages that subscription `s` of the topic has not settled. */
  async backlogOf(topic: string): Promise<number> {
    const { subscription } = await this.client.admin.getSubscription({ topic, name: 's' });
    const partitions = subscription?.partitions ?? [];
    return partitions.reduce((sum, { backlogMessageCount }) => sum + Number(backlogMessageCount), 0);
  }
}

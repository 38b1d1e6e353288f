import type { SluiceClient } from '@sluice/client';
import type { MessageRun } from '@sluice/client/api';
import {
  type Acknowledged,
  digestOf,
  passedOverOffsets,
  pendingOffsets,
  subscriptionOf,
} from './acknowledged.js';
import { failureOf } from './audit.js';
import type { Delivery, Drained, Loss } from './observation.js';

/** Consumes each subscription until nothing is due any more, and acknowledges everything. */
export async function drainAll(client: SluiceClient, acknowledged: Acknowledged): Promise<Drained[]> {
  const drained: Drained[] = [];
  for (const key of acknowledged.subscriptions.keys()) {
    drained.push(await new Drain(client, acknowledged, key).run());
  }
  return drained;
}

class Drain {
  readonly #client: SluiceClient;
  readonly #topic: string;
  readonly #name: string;
  readonly #key: string;
  readonly #deliveries: Delivery[] = [];
  readonly #losses: Loss[] = [];
  /** What is due by the list and has not come, as `partition/offset`. */
  readonly #due: Set<string>;
  /** Messages for other subscriptions that the backlog may count. */
  readonly #passedOver: number;

  constructor(client: SluiceClient, acknowledged: Acknowledged, key: string) {
    const { topic, name, standings } = subscriptionOf(acknowledged, key);
    this.#client = client;
    this.#topic = topic;
    this.#name = name;
    this.#key = key;
    this.#due = new Set(
      standings.flatMap((_, partition) =>
        pendingOffsets(acknowledged, key, partition).map((offset) => `${partition}/${offset}`),
      ),
    );
    this.#passedOver = standings.reduce(
      (sum, _, partition) => sum + passedOverOffsets(acknowledged, key, partition).length,
      0,
    );
  }

  async run(): Promise<Drained> {
    const failure = await this.#drain();
    const drained = { subscription: this.#key, deliveries: this.#deliveries, losses: this.#losses };
    return failure === undefined ? drained : { ...drained, failure };
  }

  /** Answers why it could not go on; undefined where everything is settled. */
  async #drain(): Promise<string | undefined> {
    for (;;) {
      const before = this.#due.size;
      try {
        await this.#consume();
        const backlog = await this.#backlog();
        if (this.#due.size === 0 && backlog <= this.#passedOver) return undefined;
        if (this.#due.size === before) return `${backlog} messages are due and do not come`;
      } catch (thrown) {
        const blockingFailure = await this.#passFailure(failureOf(thrown), this.#due.size < before);
        if (blockingFailure !== undefined) return blockingFailure;
      }
    }
  }

  /** Goes on behind damage. Answers why it can't; `hasProgress` says that the session brought something. */
  async #passFailure(
    failure: ReturnType<typeof failureOf>,
    hasProgress: boolean,
  ): Promise<string | undefined> {
    if (failure.kind === 'failed') return failure.text;
    const { loss } = failure;
    if (!this.#losses.some(({ text }) => text === loss.text)) this.#losses.push(loss);
    // What lies before the damage may have come in this session: the next one tells.
    return hasProgress ? undefined : await this.#pass(loss);
  }

  /** One session: takes and acknowledges until nothing is due, or until it fails. */
  async #consume(): Promise<void> {
    const call = this.#client.broker.consume();
    const flowControl = { maxOutstandingMessages: 10_000, maxOutstandingBytes: 100_000_000n };
    await call.write({ subscribe: { topic: this.#topic, subscription: this.#name, flowControl } });
    let unanswered = 0;
    // More than the list knows to be due means that something comes again.
    let expected = (await this.#backlog()) - this.#passedOver;
    for await (const response of call) {
      for (const run of response.runs) {
        this.#take(run);
        expected -= run.messages.length;
        unanswered += 1;
        await call.write({ settlementId: 1n, settlements: [acknowledgementOf(run)] });
      }
      if (response.settled !== undefined) unanswered -= 1;
      if (expected <= 0 && this.#due.size === 0 && unanswered === 0) call.end();
    }
  }

  #take(run: MessageRun): void {
    const { partition, firstOffset, attempt, producerId } = run;
    for (const [index, message] of run.messages.entries()) {
      const offset = Number(firstOffset) + index;
      this.#due.delete(`${partition}/${offset}`);
      this.#deliveries.push({ partition, offset, attempt, digest: digestOf(message, producerId) });
    }
  }

  /** Moves the subscription behind the damage. Answers why it can't. */
  async #pass({ partition, last, text }: Loss): Promise<string | undefined> {
    if (partition === undefined || last === undefined) return `goes on nowhere behind: ${text}`;
    try {
      await this.#client.admin.seekSubscription({
        topic: this.#topic,
        name: this.#name,
        partition,
        position: { position: { case: 'offset', value: BigInt(last + 1) } },
      });
      // What lies before and has not come will not come any more: the judge misses it.
      for (const place of this.#due) {
        const [ofPartition, offset] = place.split('/').map(Number);
        if (ofPartition === partition && offset! <= last) this.#due.delete(place);
      }
      return undefined;
    } catch (thrown) {
      const failure = failureOf(thrown);
      return failure.kind === 'failed' ? failure.text : `behind the damage: ${failure.loss.text}`;
    }
  }

  async #backlog(): Promise<number> {
    const { subscription } = await this.#client.admin.getSubscription({
      topic: this.#topic,
      name: this.#name,
    });
    const counts = subscription!.partitions.map(({ backlogMessageCount }) => Number(backlogMessageCount));
    return counts.reduce((sum, count) => sum + count, 0);
  }
}

function acknowledgementOf({ partition, firstOffset, messages }: MessageRun) {
  const lastOffset = firstOffset + BigInt(messages.length - 1);
  return { offsets: { partition, firstOffset, lastOffset }, outcome: { case: 'ack' as const, value: {} } };
}

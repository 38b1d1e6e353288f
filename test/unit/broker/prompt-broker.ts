import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SubscriptionConfig, TopicConfig } from '../../../src/base/model.js';
import { createRandom } from '../../../src/base/random.js';
import { minuteMs } from '../../../src/base/units.js';
import type { Broker, ConsumeOptions, ConsumerSession, Receipt } from '../../../src/broker/types.js';
import { Host } from '../../simulation/host.js';
import { type Draft, encodeBatch } from '../../simulation/messages.js';
import { contextOf } from '../../support/call-context.js';

/** A consumer with what it got. */
export interface TestConsumer {
  readonly session: ConsumerSession;
  readonly offsets: number[];
  readonly attempts: number[];
  /** Reasons. */
  readonly ends: string[];
}

/** A broker in this process, on a store that answers at once. Its clock stands still. */
export class PromptBroker {
  readonly host: Host;
  readonly #directory: string;
  readonly #failures: unknown[];

  private constructor(host: Host, directory: string, failures: unknown[]) {
    this.host = host;
    this.#directory = directory;
    this.#failures = failures;
  }

  static async start(): Promise<PromptBroker> {
    const directory = await mkdtemp(join(tmpdir(), 'sluice-broker-'));
    const failures: unknown[] = [];
    const watcher = { submitted() {}, committed() {}, recovered() {}, removing() {}, lookedUp() {} };
    const failed = (error: unknown) => void failures.push(error);
    const host = new Host({ directory, random: createRandom(1), chance: 0, watcher, failed });
    await host.start();
    host.storage.isPrompt = true;
    return new PromptBroker(host, directory, failures);
  }

  async stop(): Promise<void> {
    await this.host.stop();
    await rm(this.#directory, { recursive: true });
    assert.deepEqual(this.#failures, []);
  }

  get broker(): Broker {
    return this.host.broker;
  }

  publish(
    topic: string,
    drafts: readonly Partial<Draft>[],
    options: {
      partition?: number;
      producer?: { producerId: string; epoch: number; firstSequence: number };
    } = {},
  ): Promise<Receipt> {
    const publisher = this.broker.openPublisher(contextOf('test'));
    const whole = drafts.map((draft) => ({ id: 'm', key: '', padding: 0, ...draft }));
    const { partition, producer } = options;
    return new Promise<Receipt>((resolve, reject) => {
      publisher.publish({ topic, partition, producer, ...encodeBatch(whole) }, (error, receipt) =>
        error === undefined ? resolve(receipt!) : reject(error),
      );
    }).finally(() => publisher.close());
  }

  async consume(
    topic: string,
    subscription: string,
    options: Partial<ConsumeOptions> = {},
  ): Promise<TestConsumer> {
    const offsets: number[] = [];
    const attempts: number[] = [];
    const ends: string[] = [];
    const session = await this.broker.subscribe(
      {
        topic,
        subscription,
        consumerId: 'c',
        context: contextOf('test'),
        credit: {},
        start: { kind: 'earliest' },
        ...options,
      },
      {
        deliver(runs, written) {
          for (const { run, from, to, attempt } of runs) {
            for (let i = from; i < to; i += 1) {
              offsets.push(run.firstOffset + i);
              attempts.push(attempt);
            }
          }
          written();
        },
        assigned() {},
        revoked() {},
        heartbeat() {},
        ended: (error) => void ends.push(error.reason),
      },
    );
    session.start();
    await this.host.storage.quiesce();
    return { session, offsets, attempts, ends };
  }
}

export function topicOf(
  name: string,
  partitionCount = 1,
  changes: Partial<TopicConfig> = {},
): Omit<TopicConfig, 'createTimeMs'> {
  return {
    name,
    partitionCount,
    retention: { maxAgeMs: 0, maxBytes: 0, untilAcknowledged: false, dropUnacknowledged: false },
    backlogLimit: { maxBytes: 0, maxMessages: 0, whenFull: 'block' },
    durability: undefined,
    ...changes,
  };
}

export function subscriptionOf(
  topic: string,
  name: string,
  changes: Partial<SubscriptionConfig> = {},
): Omit<SubscriptionConfig, 'createTimeMs'> {
  return {
    topic,
    name,
    ordering: 'partition',
    ackDeadlineMs: minuteMs,
    minBackoffMs: 100,
    maxBackoffMs: 400,
    deadLetter: { maxAttempts: 2, topic: '', isDisabled: false },
    ...changes,
  };
}

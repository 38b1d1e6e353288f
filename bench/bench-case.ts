import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  Admin,
  type PartitionStats,
  type SubscriptionSchema,
  type TopicSchema,
} from '../src/gen/sluice/v1/admin_pb.js';
import { BrokerProcess } from '../test/support/broker-process.js';
import { RawConnection } from '../test/support/raw-grpc.js';
import type { Row } from './report.js';

export interface BenchSettings {
  /** How long each rate or latency is measured. */
  readonly measureMs: number;
  readonly replayMessages: number;
  readonly deliverMessages: number;
  readonly backlogMessages: number;
  readonly restartBytes: number;
  /** The compiled command line of the broker. Default: that of this working tree. */
  readonly brokerCommand?: string;
}

export interface BenchCase {
  readonly name: string;
  /** What it measures, in a line. */
  readonly about: string;
  /** Runs every variant. */
  run(settings: BenchSettings): Promise<readonly Row[]>;
  /** Its parts, where each can be run alone: they have the names of their rows. */
  readonly variants?: readonly BenchVariant[];
}

export interface BenchVariant {
  readonly name: string;
  run(settings: BenchSettings): Promise<readonly Row[]>;
}

/** A case whose variants are measured one after the other, each on a fresh broker. */
export function caseOf<V extends { readonly name: string }>(
  { name, about }: Pick<BenchCase, 'name' | 'about'>,
  variants: readonly V[],
  measure: (variant: V, settings: BenchSettings) => Promise<Row>,
): BenchCase {
  return {
    name,
    about,
    variants: variants.map((variant) => ({
      name: variant.name,
      run: async (settings) => [await measure(variant, settings)],
    })),
    run: async (settings) => {
      const rows: Row[] = [];
      for (const variant of variants) rows.push(await measure(variant, settings));
      return rows;
    },
  };
}

/** Before this, code is being compiled and windows are being opened: not measured. */
export const warmupMs = 2_000;

/** A fresh broker on an empty directory, removed afterwards. */
export async function withBroker<T>(
  work: (broker: BrokerProcess) => Promise<T>,
  { brokerCommand }: Pick<BenchSettings, 'brokerCommand'> = {},
): Promise<T> {
  const broker = await BrokerProcess.start(brokerCommand === undefined ? {} : { command: brokerCommand });
  try {
    return await work(broker);
  } catch (error) {
    console.error(broker.tail());
    throw error;
  } finally {
    await broker.dispose();
  }
}

export async function withConnection<T>(
  address: string,
  work: (connection: RawConnection) => Promise<T>,
): Promise<T> {
  const connection = await RawConnection.connect(address);
  try {
    return await work(connection);
  } finally {
    connection.destroy();
  }
}

export async function createTopic(
  address: string,
  topic: MessageInitShape<typeof TopicSchema>,
): Promise<void> {
  await withConnection(address, (connection) => connection.unary(Admin.method.createTopic, { topic }));
}

export async function createSubscription(
  address: string,
  subscription: MessageInitShape<typeof SubscriptionSchema>,
): Promise<void> {
  await withConnection(address, (connection) =>
    connection.unary(Admin.method.createSubscription, { subscription }),
  );
}

/** Messages that are stored in a topic. */
export async function storedCount(address: string, name: string): Promise<number> {
  const partitions = await partitionsOf(address, name);
  return partitions.reduce((sum, { firstOffset, nextOffset }) => sum + Number(nextOffset - firstOffset), 0);
}

/** Messages that were ever stored in a topic, those included that retention has removed. */
export async function appendedCount(address: string, name: string): Promise<number> {
  const partitions = await partitionsOf(address, name);
  return partitions.reduce((sum, { nextOffset }) => sum + Number(nextOffset), 0);
}

async function partitionsOf(address: string, name: string): Promise<readonly PartitionStats[]> {
  const { topic } = await withConnection(address, (connection) =>
    connection.unary(Admin.method.getTopic, { name }),
  );
  return topic?.partitions ?? [];
}

/** Messages of a subscription that are not acknowledged. */
export async function backlogCount(address: string, topic: string, name: string): Promise<number> {
  const { subscription } = await withConnection(address, (connection) =>
    connection.unary(Admin.method.getSubscription, { topic, name }),
  );
  let count = 0;
  for (const partition of subscription?.partitions ?? []) count += Number(partition.backlogMessageCount);
  return count;
}

/** A measurement with wrong numbers is none. */
export function assertEqual(what: string, actual: number, expected: number): void {
  if (actual !== expected) throw new Error(`${what}: ${actual}, expected ${expected}`);
}

import type { MessageInitShape } from '@bufbuild/protobuf';
import { MiB, secondMs } from '../../src/base/units.js';
import type { TopicSchema } from '../../src/gen/sluice/v1/admin_pb.js';
import type { BrokerProcess } from '../../test/support/broker-process.js';
import type { SlowDisk } from '../../test/support/slow-disk.js';
import type { ConsumeJob } from '../load/consume.js';

/**
 * The parts of a scene, each this long: the warm-up is not measured, `alone` is what the others are held against. Being
 * alone and the trouble take turns, so many times.
 */
export interface Phases {
  readonly rounds: number;
  readonly warmupMs: number;
  readonly aloneMs: number;
  readonly troubleMs: number;
  readonly afterMs: number;
}

/** Between two troubles, not measured: what the end of one sets free is gone by then. */
export const calmMs = 4 * secondMs;

/** When the trouble is on, from the start of the load, where it takes no time to come and go. */
export function troubleSpans(phases: Phases): { readonly fromMs: number; readonly untilMs: number }[] {
  const { rounds, warmupMs, aloneMs, troubleMs } = phases;
  return Array.from({ length: rounds }, (_, round) => {
    const fromMs = warmupMs + round * (aloneMs + troubleMs + calmMs) + aloneMs;
    return { fromMs, untilMs: fromMs + troubleMs };
  });
}

/** Where a scene plays: a broker with producers at full speed, and those who consume beside the trouble. */
export interface World {
  readonly broker: BrokerProcess;
  readonly disk: SlowDisk | undefined;
}

/** One kind of trouble, and what is expected to hold while it lasts. */
export interface Scene {
  readonly name: string;
  readonly about: string;
  readonly brokerArgs?: readonly string[];
  readonly needsSlowDisk?: boolean;
  /** What beginning and ending the trouble may take together. Default: a second. */
  readonly turnMs?: number;
  /** Its trouble can come and go many times. */
  readonly isRepeatable?: boolean;
  /** The topic that is published to at full speed; `name` and partitions are given. */
  readonly topic?: Omit<MessageInitShape<typeof TopicSchema>, '$typeName'>;
  /** What a partition keeps, instead of `retainedBytes`. */
  readonly retainedBytes?: number;
  /** Retention does not wait for acknowledgements: otherwise the messages that it keeps for a stuck consumer would count as the cost of the stall. */
  readonly dropsUnacknowledged?: boolean;
  /** The shared subscription beside the producers; times are counted from its start. */
  consumers(phases: Phases): Pick<ConsumeJob, 'consumers' | 'slowdown'>;
  /** Whose speed the trouble must not change. */
  readonly others: 'consumers' | 'reader';
  /** The trouble stops the producers, by rights: they have to be back within a second after it. */
  readonly stopsProducers: boolean;
  /** What the knobs allow the trouble to take of the broker's memory. */
  readonly allowedBytes: number;
  /** Before anything runs. */
  prepare?(world: World): Promise<void>;
  begin?(world: World): Promise<void>;
  /** Ends the trouble; answers what was to be seen of it, in a few words. */
  end?(world: World): Promise<string>;
}

/** What a partition keeps: so the store has a size that stays, and neither speed nor memory drifts while measured. */
export const retainedBytes = 128 * MiB;

export const flowTopic = 'flow';
export const storedTopic = 'stored';
export const partitionCount = 8;

import type { Clock } from '../../base/clock.js';
import { SluiceError } from '../../base/errors.js';
import { orderingKey } from '../../core/routing.js';
import type { Fetch, ReadRun, SubscriptionState } from '../../core/types.js';
import { numbersOfKeys } from '../../envelope/message-bytes.js';
import type { StoredRun } from '../../storage/types.js';
import { fittingEnd } from '../frames/fitting-end.js';
import type { DeliveredRun } from '../types.js';
import type { ConsumerLink } from './consumer-link.js';
import type { LaneReaders } from './lane-readers.js';

/** A read of the log that memory could not answer at once. */
export interface PendingRead {
  readonly fetch: Fetch;
  readonly reading: Promise<readonly StoredRun[]>;
}

/** Leased runs that go to a consumer together, and what came up while they were collected. */
export interface Frame {
  readonly runs: DeliveredRun[];
  readonly deliveryIds: number[];
  byteLength: number;
  /** Reads that were started. Each of them makes a frame of its own. */
  reads: PendingRead[] | undefined;
  /** A read that failed at once. It was abandoned, and ended the frame. */
  failure: { readonly partition: number; readonly error: SluiceError } | undefined;
}

const noEnds = new Uint32Array(0);

/**
 * Asks the subscription state where to read, reads, and has the messages leased. Messages from all partitions of a
 * session that are in memory go out as one frame: a frame and the settlement that answers it cost the same for one
 * message as for a thousand.
 */
export class FrameBuilder {
  readonly #state: SubscriptionState;
  readonly #readers: LaneReaders;
  readonly #clock: Clock;
  readonly #subscriptionId: number;
  readonly #isOrderedByKey: boolean;
  /** Many sessions read parts of the same run of the tail: its keys are looked up once. */
  readonly #orderingKeys = new WeakMap<StoredRun, Uint32Array>();

  constructor(
    state: SubscriptionState,
    readers: LaneReaders,
    clock: Clock,
    subscriptionId: number,
    isOrderedByKey: boolean,
  ) {
    this.#state = state;
    this.#readers = readers;
    this.#clock = clock;
    this.#subscriptionId = subscriptionId;
    this.#isOrderedByKey = isOrderedByKey;
  }

  /** Collects a frame from what can be read at once, and starts the other reads. */
  collect(link: ConsumerLink): Frame {
    const frame = emptyFrame();
    const maxBytes = link.nextFrameBytes;
    while (frame.byteLength < maxBytes && link.canSend && link.isOpen) {
      const fetch = this.#state.nextFetch(link.sessionId, this.#clock.monotonicMs());
      if (fetch.kind === 'wait') {
        link.waitFor(fetch.reason);
        break;
      }
      const { partition, offset } = fetch;
      const leftBytes = maxBytes - frame.byteLength;
      let runs: ReturnType<LaneReaders['read']>;
      try {
        runs = this.#readers.read(partition, offset, leftBytes);
      } catch (thrown) {
        this.#state.abandon(link.sessionId, fetch);
        frame.failure = { partition, error: SluiceError.from(thrown) };
        break;
      }
      if (runs instanceof Promise) {
        link.readsUnderWay++;
        frame.reads ??= [];
        frame.reads.push({ fetch, reading: runs });
      } else this.#lease(link, fetch, runs, frame, leftBytes);
    }
    return frame;
  }

  /** The frame of a read that has ended. The subscription state must learn of it even if the session is gone. */
  fromRead(link: ConsumerLink, fetch: Fetch, runs: readonly StoredRun[]): Frame {
    const frame = emptyFrame();
    this.#lease(link, fetch, runs, frame, link.nextFrameBytes);
    return frame;
  }

  #lease(link: ConsumerLink, fetch: Fetch, runs: readonly StoredRun[], frame: Frame, maxBytes: number): void {
    const readRuns = cutRuns(this.#readRuns(runs), fetch.offset, maxBytes);
    const delivery = this.#state.lease(link.sessionId, fetch, readRuns, this.#clock.monotonicMs());
    if (delivery === undefined) return;
    frame.deliveryIds.push(delivery.deliveryId);
    for (const { run: index, from, to, attempt } of delivery.runs) {
      const run = runs[index]!;
      frame.runs.push({ run, from, to, attempt, deliveryId: delivery.deliveryId });
      frame.byteLength += run.ends[to - 1]! - (from === 0 ? 0 : run.ends[from - 1]!);
    }
  }

  /** The runs as the subscription state needs them: marked if targeted elsewhere, with keys if ordered by key. */
  #readRuns(runs: readonly StoredRun[]): readonly ReadRun[] {
    const isOrderedByKey = this.#isOrderedByKey;
    if (!isOrderedByKey && !runs.some((run) => this.#isTargetedElsewhere(run))) return runs;
    return runs.map((run) => {
      const { firstOffset, count } = run;
      if (this.#isTargetedElsewhere(run))
        return { firstOffset, count, ends: noEnds, isTargetedElsewhere: true };
      return isOrderedByKey ? this.#indexed(run) : run;
    });
  }

  /** A redrive targeted the run to another subscription. */
  #isTargetedElsewhere({ targetSubscriptionId }: StoredRun): boolean {
    return targetSubscriptionId !== 0 && targetSubscriptionId !== this.#subscriptionId;
  }

  #indexed(run: StoredRun): ReadRun {
    const { firstOffset, count, ends } = run;
    let orderingKeys = this.#orderingKeys.get(run);
    if (orderingKeys === undefined) {
      orderingKeys = numbersOfKeys(run.messages, run.count, orderingKey);
      this.#orderingKeys.set(run, orderingKeys);
    }
    return { firstOffset, count, ends, orderingKeys };
  }
}

/** Cuts the runs at the end of a frame. */
function cutRuns(runs: readonly ReadRun[], offset: number, maxBytes: number): readonly ReadRun[] {
  const end = fittingEnd(runs, offset, maxBytes);
  if (end === Number.POSITIVE_INFINITY) return runs;
  const cut: ReadRun[] = [];
  for (const run of runs) {
    const count = end - run.firstOffset;
    if (count <= 0) break;
    cut.push(count >= run.count ? run : { ...run, count, ends: run.ends.subarray(0, count) });
  }
  return cut;
}

function emptyFrame(): Frame {
  return { runs: [], deliveryIds: [], byteLength: 0, reads: undefined, failure: undefined };
}

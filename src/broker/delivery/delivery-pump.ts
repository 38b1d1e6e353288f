import { orderingKey } from '../../core/routing.js';
import type { Fetch, ReadRun, SubscriptionState } from '../../core/types.js';
import { numbersOfKeys } from '../../envelope/message-bytes.js';
import type { StoredRun } from '../../storage/types.js';
import type { Counters } from '../counters.js';
import type { DeliveredRun } from '../types.js';
import type { ConsumerLink } from './consumer-link.js';
import { fittingEnd } from './fitting-end.js';
import type { LaneReaders } from './lane-readers.js';

export interface PumpServices {
  readonly state: SubscriptionState;
  readonly readers: LaneReaders;
  readonly nowMs: () => number;
  readonly counters: Counters;
  readonly subscriptionId: number;
  readonly isOrderedByKey: boolean;
  /** Whether the session and its subscription are open. */
  readonly isLive: (link: ConsumerLink) => boolean;
  /** A session may be able to receive more. */
  readonly ready: (link: ConsumerLink) => void;
  /** A read came to nothing, and the subscription state knows it. */
  readonly readFailed: (link: ConsumerLink, partition: number, thrown: unknown) => void;
}

/** Runs that are collected for one frame. */
interface Frame {
  readonly runs: DeliveredRun[];
  readonly deliveryIds: number[];
  byteLength: number;
}

const noEnds = new Uint32Array(0);

/**
 * Moves messages from the log to consumers: asks the subscription state where to read, has the messages leased,
 * and sends them. Messages from all partitions of a session that are in memory go out as one frame: a frame and
 * the settlement that answers it cost the same for one message as for a thousand.
 */
export class DeliveryPump {
  readonly #services: PumpServices;
  /** Many sessions read parts of the same run of the tail: its keys are looked up once. */
  readonly #orderingKeys = new WeakMap<StoredRun, Uint32Array>();

  constructor(services: PumpServices) {
    this.#services = services;
  }

  /** Lets a session receive all that its credit and its transport allow. */
  run(link: ConsumerLink): void {
    while (link.canSend && this.#services.isLive(link)) {
      const frame = this.#collect(link);
      if (frame.runs.length === 0) break;
      this.#send(link, frame);
    }
    if (!link.canSend) this.#services.state.decline(link.sessionId);
  }

  /**
   * Collects a frame from what can be read at once. Starts the other reads; each of them makes a frame of its own.
   */
  #collect(link: ConsumerLink): Frame {
    const { state, readers, nowMs, isLive, readFailed } = this.#services;
    const frame: Frame = { runs: [], deliveryIds: [], byteLength: 0 };
    const maxBytes = link.nextFrameBytes;
    while (frame.byteLength < maxBytes && link.canSend && isLive(link)) {
      const fetch = state.nextFetch(link.sessionId, nowMs());
      if (fetch.kind === 'wait') {
        link.waitFor(fetch.reason);
        break;
      }
      const leftBytes = maxBytes - frame.byteLength;
      let runs: ReturnType<LaneReaders['read']>;
      try {
        runs = readers.read(fetch.partition, fetch.offset, leftBytes);
      } catch (thrown) {
        state.abandon(link.sessionId, fetch);
        readFailed(link, fetch.partition, thrown);
        continue;
      }
      if (runs instanceof Promise) void this.#awaitRead(link, fetch, runs);
      else this.#lease(link, fetch, runs, frame, leftBytes);
    }
    return frame;
  }

  /**
   * Only the read may fail. An error after it is a defect of the broker: it is not caught, and the process ends.
   */
  async #awaitRead(link: ConsumerLink, fetch: Fetch, reading: Promise<readonly StoredRun[]>): Promise<void> {
    const { state, isLive, ready, readFailed } = this.#services;
    link.readsUnderWay++;
    let runs: readonly StoredRun[];
    try {
      runs = await reading;
    } catch (thrown) {
      link.readsUnderWay--;
      state.abandon(link.sessionId, fetch);
      readFailed(link, fetch.partition, thrown);
      return;
    }
    link.readsUnderWay--;
    if (link.isHeldByTransport) {
      // Other partitions have filled the transport meanwhile. The session asks again when a frame has left. Other
      // consumers of this partition must not wait for that: a consumer that does not read would block them
      // forever.
      state.abandon(link.sessionId, fetch);
      if (isLive(link)) ready(link);
      return;
    }
    const frame: Frame = { runs: [], deliveryIds: [], byteLength: 0 };
    // The subscription state must learn that the read has ended even if the session is gone.
    this.#lease(link, fetch, runs, frame, link.nextFrameBytes);
    if (!isLive(link)) return;
    if (frame.runs.length > 0) this.#send(link, frame);
    ready(link);
  }

  #lease(link: ConsumerLink, fetch: Fetch, runs: readonly StoredRun[], frame: Frame, maxBytes: number): void {
    const { state, nowMs } = this.#services;
    const readRuns = cutRuns(this.#readRuns(runs), fetch.offset, maxBytes);
    const delivery = state.lease(link.sessionId, fetch, readRuns, nowMs());
    if (delivery === undefined) return;
    frame.deliveryIds.push(delivery.deliveryId);
    for (const { run: index, from, to, attempt } of delivery.runs) {
      const run = runs[index]!;
      frame.runs.push({ run, from, to, attempt, deliveryId: delivery.deliveryId });
      frame.byteLength += run.ends[to - 1]! - (from === 0 ? 0 : run.ends[from - 1]!);
    }
  }

  #send(link: ConsumerLink, { runs, deliveryIds, byteLength }: Frame): void {
    const { state, nowMs, isLive, ready, counters } = this.#services;
    link.frameSent(byteLength);
    counters.deliveredBytes += byteLength;
    for (const { from, to } of runs) counters.deliveredMessages += to - from;
    link.sink.deliver(runs, () => {
      link.frameLeft();
      if (!isLive(link)) return;
      // The deadline starts now: time spent in the transport does not count.
      for (const deliveryId of deliveryIds) state.sent(deliveryId, nowMs());
      ready(link);
    });
  }

  /** The runs as the subscription state needs them: marked if targeted elsewhere, with keys if ordered by key. */
  #readRuns(runs: readonly StoredRun[]): readonly ReadRun[] {
    const { isOrderedByKey } = this.#services;
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
    return targetSubscriptionId !== 0 && targetSubscriptionId !== this.#services.subscriptionId;
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

import assert from 'node:assert/strict';
import type { SluiceError } from '../../../../src/base/errors.js';
import { limits } from '../../../../src/base/limits.js';
import {
  Redrive,
  type RedrivenSubscription,
  type RedriveServices,
} from '../../../../src/broker/dead-letters/redrive.js';
import type { RedriveOptions } from '../../../../src/broker/types.js';
import { appendOrigin, deadLetterHeaders } from '../../../../src/envelope/dead-letter-origin.js';
import type { StoredRun, Transaction } from '../../../../src/storage/types.js';
import { decodeEntry, encodeBatch, splitEntries } from '../../../simulation/messages.js';

const subscriptionId = 4;
const topicId = 1;
const deadLetterTopicId = 9;

export interface Letter {
  readonly id: string;
  readonly key?: string;
  readonly originPartition?: number;
  /** The subscription that dead-lettered it. */
  readonly owner?: number;
}

function entryOf({ id, key = '', originPartition = 0, owner = subscriptionId }: Letter): Uint8Array {
  const { source } = encodeBatch([{ id, key, padding: 0 }]);
  return appendOrigin(source, owner, {
    [deadLetterHeaders.topic]: 'orders',
    [deadLetterHeaders.partition]: String(originPartition),
    [deadLetterHeaders.offset]: '7',
    [deadLetterHeaders.subscription]: 's',
    [deadLetterHeaders.attempts]: '2',
    [deadLetterHeaders.reason]: 'r',
    [deadLetterHeaders.time]: new Date(5_000).toISOString(),
  });
}

/** Dead letters of this subscription. */
export function lettersOf(...ids: string[]): Letter[] {
  return ids.map((id) => ({ id }));
}

export const foreign: Letter = { id: 'foreign', owner: 5 };

/** The pages of a partition as runs, one behind the other. A read answers one of them. */
function runsOf(partition: number, pages: readonly (readonly Letter[])[]): StoredRun[] {
  let firstOffset = 0;
  return pages.map((page) => {
    const entries = page.map(entryOf);
    let end = 0;
    const ends = Uint32Array.from(entries, ({ length }) => (end += length));
    const messages = Buffer.concat(entries);
    const place = { partition, firstOffset, count: page.length, publishTimeMs: 1 };
    firstOffset += page.length;
    return { ...place, producerId: '', targetSubscriptionId: 0, messages, ends };
  });
}

/** A redrive over a store and gates that the test controls. Its clock stands still until a timer is fired. */
export class Rig {
  readonly events: string[] = [];
  /** What was submitted after the barrier: the ids by target partition, and the note. */
  readonly sent: { ids: string[][]; note: [partition: number, offset: number] }[] = [];
  readonly progress: [redriven: number, remaining: number][] = [];
  readonly redrive: Redrive;
  readonly ended: Promise<SluiceError | undefined>;
  nowMs = 1_000;
  firstOffset = 0;
  notedOffsets = new Map<number, number>();
  hasDeadLetterTopic = true;
  isBacklogClosed = false;
  isGateClosed = false;
  /** Called with each submission after the barrier, instead of its commit. */
  onSubmit: ((transaction: Transaction) => void) | undefined;
  check: () => void = () => {};
  checkDisk: () => void = () => {};
  openReaders = 0;
  readonly reads: [partition: number, offset: number][] = [];
  readonly pending = { bytes: 0, messages: 0 };
  timers: { delayMs: number; wake: () => void }[] = [];
  /** Callers that wait at the gate, and at the backlog. */
  readonly atGate: (() => void)[] = [];
  readonly atBacklog: (() => void)[] = [];
  #onWait: () => void = () => {};

  constructor(
    pages: readonly (readonly (readonly Letter[])[])[],
    options: Partial<RedriveOptions> = {},
    partitionCount = 1,
  ) {
    const runs = pages.map((ofPartition, partition) => runsOf(partition, ofPartition));
    const storage = {
      submit: (transaction: Transaction) => {
        if ((transaction.changes ?? []).length === 0) transaction.onCommitted!();
        else this.#submitted(transaction);
        return [];
      },
      readRedrives: async () => this.notedOffsets,
      extent: (_topicId: number, partition: number) => {
        const last = runs[partition]!.at(-1);
        const endOffset = last === undefined ? 0 : last.firstOffset + last.count;
        return { firstOffset: this.firstOffset, endOffset, bytes: 0 };
      },
      openReader: (_topicId: number, partition: number) => {
        this.openReaders += 1;
        let isOpen = true;
        return {
          read: async (offset: number) => {
            this.reads.push([partition, offset]);
            return runs[partition]!.filter((run) => run.firstOffset + run.count > offset).slice(0, 1);
          },
          close: () => {
            if (isOpen) this.openReaders -= 1;
            isOpen = false;
          },
        };
      },
    };
    const services = {
      storage,
      clock: {
        monotonicMs: () => this.nowMs,
        after: (delayMs: number, wake: () => void) => this.#after(delayMs, wake),
      },
      gate: {
        isClosedFor: () => this.isGateClosed,
        wait: (_line: unknown, enter: () => void) => this.#wait(this.atGate, enter),
        submitted: (_line: unknown, bytes: number) => this.#pend(bytes, 0),
        committed: (_line: unknown, bytes: number) => this.#pend(-bytes, 0),
      },
      serving: { check: () => this.check() },
      disk: { check: () => this.checkDisk() },
      topics: {
        find: () =>
          this.hasDeadLetterTopic
            ? {
                topicId: deadLetterTopicId,
                config: { partitionCount: pages.length },
                addFollower: () => this.events.push('follows'),
                removeFollower: () => this.events.push('unfollows'),
              }
            : undefined,
      },
    };
    const rig = this;
    const subscription = {
      subscriptionId,
      topic: {
        topicId,
        config: { partitionCount },
        line: {},
        backlog: {
          get isClosed() {
            return rig.isBacklogClosed;
          },
          wait: (enter: () => void) => this.#wait(this.atBacklog, enter),
          submitted: (messages: number) => this.#pend(0, messages),
          committed: (messages: number) => this.#pend(0, -messages),
        },
      },
      config: { topic: 'orders', name: 's', createTimeMs: 1, deadLetter: { topic: '' } },
      beginRedrive: () => this.events.push('begins'),
      endRedrive: () => this.events.push('ends'),
    };
    let end: (error: SluiceError | undefined) => void;
    this.ended = new Promise((resolve) => {
      end = resolve;
    });
    this.redrive = new Redrive(
      services as unknown as RedriveServices,
      subscription as unknown as RedrivenSubscription,
      { topic: 'orders', subscription: 's', isDryRun: false, limit: 0, ratePerSecond: 0, ...options },
      {
        progress: ({ redrivenCount, remainingCount }) => {
          this.progress.push([redrivenCount, remainingCount]);
        },
        ended: (error) => {
          this.events.push('ended');
          end(error);
        },
      },
    );
  }

  /** Runs to the end. */
  async run(): Promise<SluiceError | undefined> {
    this.redrive.start();
    return await this.ended;
  }

  /** Resolves at the next wait of the redrive: for a gate, the backlog or its rate. */
  nextWait(): Promise<void> {
    return new Promise((resolve) => {
      this.#onWait = resolve;
    });
  }

  /** Fires the timer that is set for this delay, at its time. */
  fire(delayMs: number): void {
    const timer = this.timers.find((each) => each.delayMs === delayMs);
    assert(timer !== undefined, `no timer is set for ${delayMs} ms`);
    this.timers = this.timers.filter((each) => each !== timer);
    this.nowMs += delayMs;
    timer.wake();
  }

  #after(delayMs: number, wake: () => void): { cancel: () => void } {
    const timer = { delayMs, wake };
    this.timers.push(timer);
    if (delayMs !== limits.redriveProgressEveryMs) this.#onWait();
    const cancel = () => {
      this.timers = this.timers.filter((each) => each !== timer);
    };
    return { cancel };
  }

  #pend(bytes: number, messages: number): void {
    this.pending.bytes += bytes;
    this.pending.messages += messages;
  }

  #wait(list: (() => void)[], enter: () => void): () => void {
    list.push(enter);
    this.#onWait();
    return () => void list.splice(list.indexOf(enter), 1);
  }

  #submitted(transaction: Transaction): void {
    const ids: string[][] = [];
    for (const change of transaction.changes!) {
      if (change.kind === 'append') {
        assert.deepEqual([change.topicId, change.targetSubscriptionId], [topicId, subscriptionId]);
        const entries = splitEntries(change.chunks);
        assert.deepEqual([change.count, change.byteLength], [entries.length, Buffer.concat(entries).length]);
        ids[change.partition] = entries.map((bytes) => decodeEntry(bytes).id);
      } else {
        assert(change.kind === 'redrive');
        assert.deepEqual(
          [change.subscriptionId, change.deadLetterTopicId],
          [subscriptionId, deadLetterTopicId],
        );
        this.sent.push({ ids, note: [change.partition, change.offset] });
      }
    }
    if (this.onSubmit === undefined) transaction.onCommitted!();
    else this.onSubmit(transaction);
  }
}

import { Producer_HoldReason as HoldReason, type Producer } from '@sluice/client/api';
import type { Clock, Timer } from '../../base/clock.js';
import { limits } from '../../base/limits.js';
import { secondMs } from '../../base/units.js';

export interface HoldNoticeOptions {
  readonly topic: string;
  /** Empty for an anonymous producer. */
  readonly producerId: string;
  readonly clock: Clock;
  /** Whether batches wait for their receipt. */
  readonly isWaiting: () => boolean;
  /** Every stream that publishes, as listed by the broker. */
  readonly listProducers: () => Promise<readonly Producer[]>;
  readonly say: (line: string) => void;
}

/**
 * Reports why the broker holds the stream, and what helps: once for each hold, when no receipt has arrived for a
 * second, and again when publishing continues. Single receipts, while a backlog empties slowly, do not end the
 * hold.
 */
export class HoldNotice {
  readonly #options: HoldNoticeOptions;
  #receiptCount = 0;
  #checkedReceiptCount = 0;
  /** Checks in a row that have seen new receipts. */
  #movingCount = 0;
  #reported: { reason: HoldReason; readonly sinceMs: number } | undefined;
  #timer: Timer | undefined;
  #isEnded = false;

  constructor(options: HoldNoticeOptions) {
    this.#options = options;
    this.#schedule();
  }

  /** A receipt has arrived. */
  received(): void {
    this.#receiptCount++;
  }

  /** Publishing has ended. `isDone`: everything has been answered. */
  end(isDone: boolean): void {
    this.#isEnded = true;
    this.#timer?.cancel();
    if (isDone) this.#goOn();
  }

  #schedule(): void {
    this.#timer = this.#options.clock.after(limits.cliHoldCheckEveryMs, () => void this.#check());
  }

  async #check(): Promise<void> {
    const { isWaiting } = this.#options;
    const hasMoved = this.#receiptCount > this.#checkedReceiptCount;
    this.#checkedReceiptCount = this.#receiptCount;
    this.#movingCount = hasMoved ? this.#movingCount + 1 : 0;
    if (!isWaiting() || this.#movingCount > 1) this.#goOn();
    else if (!hasMoved) await this.#look();
    if (!this.#isEnded) this.#schedule();
  }

  async #look(): Promise<void> {
    const { clock, listProducers, say, topic } = this.#options;
    const sinceMs = clock.monotonicMs() - limits.cliHoldCheckEveryMs;
    // If the broker can't answer this, publishing fails too, and the command reports that.
    const producers = await listProducers().catch(() => []);
    const reason = this.#reasonIn(producers);
    const isOver = this.#isEnded || this.#receiptCount > this.#checkedReceiptCount;
    if (isOver || reason === undefined || reason === this.#reported?.reason) return;
    this.#reported = { reason, sinceMs: this.#reported?.sinceMs ?? sinceMs };
    say(`waiting: ${explanations[reason]?.(topic) ?? 'the broker holds the stream'}`);
  }

  /**
   * The broker does not tell a client which stream is its own, but all held streams of a topic have the same
   * reason.
   */
  #reasonIn(producers: readonly Producer[]): HoldReason | undefined {
    const held = producers.filter(({ holdReason }) => holdReason !== HoldReason.UNSPECIFIED);
    const { topic, producerId } = this.#options;
    const own = held.find((producer) => producer.topic === topic && producer.producerId === producerId);
    // The first request contains the name of the topic, and the broker may not have read it yet.
    return (own ?? held.find((producer) => producer.topic === ''))?.holdReason;
  }

  #goOn(): void {
    if (this.#reported === undefined) return;
    const heldMs = this.#options.clock.monotonicMs() - this.#reported.sinceMs;
    this.#reported = undefined;
    this.#options.say(`continuing after ${Math.round(heldMs / secondMs)} s`);
  }
}

const explanations: Readonly<Partial<Record<HoldReason, (topic: string) => string>>> = {
  [HoldReason.BACKLOG]: (topic) =>
    `the backlog of ${topic} is full; publishing continues when its slowest subscription has settled messages ` +
    `(\`sluice subscription list ${topic}\` shows which one that is)`,
  [HoldReason.DISK]: () =>
    'the disk of the broker is nearly full; publishing continues when there is room: let consumers catch up, ' +
    'shorten the retention of topics, or delete some',
  [HoldReason.WRITER]: () =>
    'the disk of the broker is slower than its producers; publishing continues by itself',
  [HoldReason.SHARE]: () =>
    'the disk of the broker is busy with other topics; publishing continues by itself',
  [HoldReason.RECEIPTS]: () => 'too many batches have no receipt yet; publishing continues by itself',
};

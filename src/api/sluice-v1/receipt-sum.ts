import type { MessageInitShape } from '@bufbuild/protobuf';
import { limits } from '../../base/limits.js';
import type { Durability } from '../../base/model.js';
import type { Receipt } from '../../broker/types.js';
import type { PartitionInterval } from '../../core/types.js';
import type { PublishResponseSchema } from '../../gen/sluice/v1/broker_pb.js';
import { apiDurability, toRange } from './receipts.js';

interface MutableInterval {
  first: number;
  last: number;
}

/**
 * The receipts of a whole stream, as one. Batches of one stream are mostly adjacent, so the ranges stay few. If
 * other producers interleave too often, the ranges are dropped.
 */
export class ReceiptSum {
  #messageCount = 0;
  #duplicateCount = 0;
  #rangeCount = 0;
  #hasRanges = true;
  readonly #ranges = new Map<number, MutableInterval[]>();
  /** The durability of the whole is that of its weakest part. */
  #durability: Durability | undefined;

  /** The number of ranges in memory. */
  get rangeCount(): number {
    return this.#rangeCount;
  }

  /** Drops the ranges, and keeps only the counts. */
  giveUpRanges(): void {
    this.#hasRanges = false;
    this.#rangeCount = 0;
    this.#ranges.clear();
  }

  add(receipt: Receipt): void {
    this.#messageCount += receipt.messageCount;
    this.#duplicateCount += receipt.duplicateCount;
    if (this.#durability !== 'written') this.#durability = receipt.durability;
    for (const range of receipt.ranges) this.#addRange(range);
  }

  #addRange({ partition, first, last }: PartitionInterval): void {
    if (!this.#hasRanges) return;
    let ranges = this.#ranges.get(partition);
    if (ranges === undefined) {
      ranges = [];
      this.#ranges.set(partition, ranges);
    }
    const latest = ranges.at(-1);
    if (latest !== undefined && first === latest.last + 1) {
      latest.last = last;
      return;
    }
    ranges.push({ first, last });
    this.#rangeCount++;
    if (this.#rangeCount > limits.maxRangesPerResponse) this.giveUpRanges();
  }

  total(): MessageInitShape<typeof PublishResponseSchema> & { ranges: ReturnType<typeof toRange>[] } {
    const ranges = [...this.#ranges]
      .sort(([a], [b]) => a - b)
      .flatMap(([partition, intervals]) =>
        merge(intervals).map((interval) => toRange({ partition, ...interval })),
      );
    return {
      messageCount: BigInt(this.#messageCount),
      duplicateCount: BigInt(this.#duplicateCount),
      ranges,
      ...(this.#durability === undefined ? {} : { durability: apiDurability[this.#durability] }),
    };
  }
}

/** Merges ascending intervals that touch. */
function merge(intervals: readonly MutableInterval[]): MutableInterval[] {
  const merged: MutableInterval[] = [];
  for (const { first, last } of [...intervals].sort((a, b) => a.first - b.first)) {
    const latest = merged.at(-1);
    if (latest !== undefined && first <= latest.last + 1) latest.last = Math.max(latest.last, last);
    else merged.push({ first, last });
  }
  return merged;
}

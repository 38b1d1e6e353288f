export interface ShareBounds {
  readonly totalBytes: number;
  readonly smallestBytes: number;
  readonly largestBytes: number;
}

/**
 * The part that each of `count` parties may take of a shared memory. All parts together are an eighth of it,
 * because parts that were taken earlier, among fewer parties, were larger and may still be in use. If parties come
 * one after another and keep their parts, the sum stays within the total until there are a thousand times as many
 * as could have the largest part (1/8 · (1 + ln 1,000) < 1), or until the smallest part exceeds a fair one.
 */
export function fairShare({ totalBytes, smallestBytes, largestBytes }: ShareBounds, count: number): number {
  const share = Math.floor(totalBytes / 8 / Math.max(1, count));
  return Math.min(largestBytes, Math.max(smallestBytes, share));
}

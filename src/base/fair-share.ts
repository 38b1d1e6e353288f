export interface ShareBounds {
  readonly totalBytes: number;
  readonly smallestBytes: number;
  readonly largestBytes: number;
}

/**
 * What each of `count` may take of memory that they share. All of them together are given an eighth of it: what was
 * taken while they were fewer was larger and may still be held. Then however they come, one after the other and each
 * keeping what it took, the sum stays within the total until a thousand times as many have come as could have the
 * largest part (1/8 · (1 + ln 1,000) < 1), or the smallest part is more than that.
 */
export function fairShare({ totalBytes, smallestBytes, largestBytes }: ShareBounds, count: number): number {
  const share = Math.floor(totalBytes / 8 / Math.max(1, count));
  return Math.min(largestBytes, Math.max(smallestBytes, share));
}

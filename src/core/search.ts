/**
 * The index, at or after `from`, of the first number that is not below `value`, in an array that ascends from
 * there. Its length if all are below.
 */
export function lowerBound(ascending: ArrayLike<number>, value: number, from = 0): number {
  let low = from;
  let high = ascending.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ascending[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** `: did you mean --data-dir?` for a name that is close to a known one; otherwise nothing. */
export function suggest(name: string, known: readonly string[], prefix = ''): string {
  let best: string | undefined;
  let bestDistance = Math.min(4, Math.ceil(name.length / 2));
  for (const candidate of known) {
    const distance = editDistance(name, candidate);
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best === undefined ? '' : `: did you mean ${prefix}${best}?`;
}

/** Insertions, deletions and replacements that make one text of the other. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(replaced, previous[j]! + 1, row[j - 1]! + 1));
    }
    previous = row;
  }
  return previous[b.length]!;
}

/** An error names at most this many faults, and counts the rest. */
const namedCount = 20;

/** Joins faults into one line, for an error. */
export function listFaults(faults: readonly string[]): string {
  const named = faults.slice(0, namedCount).join('; ');
  return faults.length > namedCount ? `${named}; and ${faults.length - namedCount} more` : named;
}

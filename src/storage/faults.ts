/** An error names so many faults, and counts the rest. */
const namedCount = 20;

/** Many faults in one line, for an error. */
export function listFaults(faults: readonly string[]): string {
  const named = faults.slice(0, namedCount).join('; ');
  return faults.length > namedCount ? `${named}; and ${faults.length - namedCount} more` : named;
}

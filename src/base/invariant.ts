/** Stops the program where its own rules do not hold: going on would risk somebody's data. */
export class InvariantError extends Error {
  override readonly name = 'InvariantError';
}

export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new InvariantError(message);
}

/** For a `switch` over a union: a new member that nobody handles fails to compile. */
export function unreachable(value: never): never {
  throw new InvariantError(`unexpected value: ${String(value)}`);
}

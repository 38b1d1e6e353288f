/*
 * Defects: errors of the broker's own code. After one, the state in memory can't be trusted, so the process
 * ends before anything else is stored or answered. `onDefect` is told how by the program; every `catch` on the path of
 * state changes passes what it caught through `endOnDefect`, or through `SluiceError.from`, which does.
 */

/** Stops the program where its own rules do not hold: going on would risk somebody's data. */
export class InvariantError extends Error {
  override readonly name = 'InvariantError';
}

let endProcess: (defect: Error) => void = () => {};

/** Sets what ends the process at a defect. Until then, and in tests, a defect is only thrown. */
export function onDefect(end: (defect: Error) => void): void {
  endProcess = end;
}

/** A broken invariant, or what JavaScript itself throws at wrong code. Errors of the disk or the network are none. */
export function isDefect(thrown: unknown): thrown is Error {
  return (
    thrown instanceof InvariantError ||
    thrown instanceof TypeError ||
    thrown instanceof RangeError ||
    thrown instanceof ReferenceError
  );
}

/** For every `catch` that does not throw on: a defect ends the process, and does not come out as an answer. */
export function endOnDefect(thrown: unknown): void {
  if (!isDefect(thrown)) return;
  endProcess(thrown);
  throw thrown;
}

/** Ends the process where the condition does not hold, even if a caller catches what is thrown. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) endOnDefect(new InvariantError(message));
}

/** For a `switch` over a union: a new member that nobody handles fails to compile. */
export function unreachable(value: never): never {
  const defect = new InvariantError(`unexpected value: ${String(value)}`);
  endOnDefect(defect);
  throw defect;
}

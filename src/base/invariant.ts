/**
 * Defects: errors of the broker's own code. After a defect, the state in memory can't be trusted: the process ends
 * before anything else is stored or answered. The program sets the way to end with `onDefect`. Every `catch` on
 * the path of state changes passes its error through `endOnDefect`, or through `SluiceError.from`, which does the
 * same.
 */

/** An invariant does not hold: going on could damage data. */
export class InvariantError extends Error {
  override readonly name = 'InvariantError';
}

let endProcess: (defect: Error) => void = () => {};

/** Sets the function that ends the process at a defect. Without it, as in tests, a defect is only thrown. */
export function onDefect(end: (defect: Error) => void): void {
  endProcess = end;
}

/**
 * A broken invariant, or an error that JavaScript throws for wrong code. Errors of the disk or the network are not
 * defects.
 */
export function isDefect(thrown: unknown): thrown is Error {
  return (
    thrown instanceof InvariantError ||
    thrown instanceof TypeError ||
    thrown instanceof RangeError ||
    thrown instanceof ReferenceError
  );
}

/** For every `catch` that does not rethrow: a defect ends the process, and is not turned into an answer. */
export function endOnDefect(thrown: unknown): void {
  if (!isDefect(thrown)) return;
  endProcess(thrown);
  throw thrown;
}

/** Ends the process if the condition does not hold, even if a caller catches the error. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) endOnDefect(new InvariantError(message));
}

/** For a `switch` over a union: an unhandled member does not compile. */
export function unreachable(value: never): never {
  const defect = new InvariantError(`unexpected value: ${String(value)}`);
  endOnDefect(defect);
  throw defect;
}

import { SluiceError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';

/**
 * Names of topics, subscriptions and producers are parts of storage keys, of file names, URLs and shell commands. With
 * these characters none of them needs escaping, and two names have two keys: half a surrogate pair, for example, would
 * be stored as U+FFFD.
 */
const namePattern = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;

/** What is wrong with a name, as the end of a sentence; undefined if it is valid. */
export function nameFault(name: string, maxLength: number = limits.maxNameLength): string | undefined {
  if (name.length <= maxLength && namePattern.test(name)) return undefined;
  const problem =
    name === ''
      ? 'is missing'
      : name.length > maxLength
        ? `is longer than ${maxLength} characters`
        : `has characters that a name may not have: ${JSON.stringify(name)}`;
  return `${problem}; letters, digits, ".", "_" and "-" are fine, the first a letter or digit`;
}

/**
 * Throws INVALID_NAME. The broker checks each name before it stores something under it, whatever its callers have
 * checked. Names that are only looked up need no check: nothing is stored under an invalid one.
 */
export function expectName(
  name: string,
  kind: 'topic' | 'subscription' | 'producer' | 'dead-letter topic',
): void {
  const fault = nameFault(name);
  if (fault !== undefined) throw new SluiceError('INVALID_NAME', `the name of the ${kind} ${fault}`);
}

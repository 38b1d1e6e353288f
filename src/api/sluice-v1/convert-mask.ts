import type { FieldMask } from '@bufbuild/protobuf/wkt';
import { SluiceError } from '../../base/errors.js';

/**
 * The fields that an update changes. Without a mask: the fields that the message sets. "*": all fields that can
 * change. A path to anything else is refused, so that a client can't believe it had an effect.
 */
export function toUpdatePaths<P extends string>(
  mask: FieldMask | undefined,
  updatable: readonly P[],
  isSet: (path: P) => boolean,
): ReadonlySet<P> {
  const paths = mask?.paths ?? [];
  if (paths.length === 0) return new Set(updatable.filter(isSet));
  if (paths.length === 1 && paths[0] === '*') return new Set(updatable);
  const known: readonly string[] = updatable;
  for (const path of paths) if (!known.includes(path)) throw invalidMask(path, updatable);
  return new Set(paths as P[]);
}

export function invalidMask(path: string, updatable: readonly string[]): SluiceError {
  const text = `update_mask: ${JSON.stringify(path)} can't be updated; fields that can: ${updatable.join(', ')}`;
  return new SluiceError('INVALID_UPDATE_MASK', text, { field: 'update_mask' });
}

import { create } from '@bufbuild/protobuf';
import { type Duration, DurationSchema } from '@bufbuild/protobuf/wkt';
import { secondMs } from '../base/units.js';

export function toDuration(ms: number): Duration {
  const { seconds, nanos } = secondsAndNanos(ms);
  return create(DurationSchema, { seconds: BigInt(seconds), nanos });
}

/** Rounds down: a valid Duration has less than 1e9 nanos. */
export function secondsAndNanos(ms: number): { readonly seconds: number; readonly nanos: number } {
  return { seconds: Math.floor(ms / secondMs), nanos: Math.floor((ms % secondMs) * 1e6) };
}

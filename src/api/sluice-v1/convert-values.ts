import { create } from '@bufbuild/protobuf';
import { type Duration, type Timestamp, TimestampSchema, timestampFromMs } from '@bufbuild/protobuf/wkt';
import { SluiceError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import { nameFault } from '../../broker/topics/names.js';

export function invalidField(field: string, text: string): SluiceError {
  return new SluiceError('INVALID_FIELD', `${field}: ${text}`, { field });
}

/** Throws INVALID_NAME with the path of the field. The broker's rule, checked before the request is handled. */
export function checkName(name: string, field: string, maxLength: number = limits.maxNameLength): string {
  const fault = nameFault(name, maxLength);
  if (fault !== undefined) throw new SluiceError('INVALID_NAME', `${field}: the name ${fault}`, { field });
  return name;
}

/** For a topic that is only looked up: an earlier version may have created it with a longer name. */
export function checkTopicName(name: string, field: string): string {
  return checkName(name, field, limits.longestTopicNameLength);
}

/** A uint64 as a number. Throws if a number can't hold it exactly. */
export function toNumber(value: bigint, field: string): number {
  if (value > BigInt(limits.maxOffset)) throw invalidField(field, `is larger than ${limits.maxOffset}`);
  return Number(value);
}

/** Like `toNumber`, but reduces a larger value, where it means "as large as possible". */
export function toNumberAtMost(value: bigint): number {
  return value > BigInt(limits.maxOffset) ? limits.maxOffset : Number(value);
}

const maxDurationSeconds = 315_576_000_000n;

/** Whole milliseconds, rounded up, so that a small duration does not become 0. Absent: 0. */
export function toMs(duration: Duration | undefined, field: string): number {
  if (duration === undefined) return 0;
  const { seconds, nanos } = duration;
  if (seconds < 0n || nanos < 0) throw invalidField(field, 'is negative');
  if (seconds > maxDurationSeconds || nanos > 999_999_999)
    throw invalidField(field, 'is not a valid duration');
  return Number(seconds) * 1000 + Math.ceil(nanos / 1e6);
}

/** Milliseconds since 1970, rounded down. */
export function toTimeMs(timestamp: Timestamp, field: string): number {
  const { seconds, nanos } = timestamp;
  const isValid =
    seconds >= -62_135_596_800n && seconds <= 253_402_300_799n && nanos >= 0 && nanos <= 999_999_999;
  if (!isValid) throw invalidField(field, 'is not a valid timestamp');
  return Number(seconds) * 1000 + Math.floor(nanos / 1e6);
}

export function toTimestamp(timeMs: number): Timestamp {
  return timeMs === 0 ? create(TimestampSchema) : timestampFromMs(timeMs);
}

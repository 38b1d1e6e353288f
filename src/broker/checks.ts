import { type ErrorSubject, SluiceError } from '../base/errors.js';
import { limits } from '../base/limits.js';

/** Throws INVALID_FIELD unless the value is a whole number in this range. */
export function expectWhole(
  value: number,
  subject: ErrorSubject,
  name: string,
  min = 0,
  max: number = limits.maxOffset,
): void {
  if (Number.isInteger(value) && value >= min && value <= max) return;
  throw invalid(subject, `${name} must be a whole number from ${min} to ${max}, not ${value}`);
}

/** Throws INVALID_FIELD unless the value is a number of milliseconds in this range. */
export function expectMs(
  value: number,
  subject: ErrorSubject,
  name: string,
  min = 0,
  max: number = limits.maxOffset,
): void {
  if (value >= min && value <= max) return;
  throw invalid(subject, `${name} must be from ${min} ms to ${max} ms, not ${value} ms`);
}

export function invalid(subject: ErrorSubject, text: string): SluiceError {
  return new SluiceError('INVALID_FIELD', text, { subject });
}

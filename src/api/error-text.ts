import type { SluiceError } from '../base/errors.js';
import { limits } from '../base/limits.js';

/**
 * The text of an error that a client may read: bounded, and well-formed, because grpc-js encodes it with `encodeURI`,
 * which throws at half a character.
 */
export function errorText(error: SluiceError): string {
  const text = error.message.slice(0, limits.maxErrorTextLength);
  return Buffer.from(text).toString();
}

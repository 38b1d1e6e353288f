import { type DescMessage, fromBinary, type MessageShape } from '@bufbuild/protobuf';
import { SluiceError } from '../base/errors.js';
import { checkFieldsKnown } from './unknown-fields.js';

/** Throws MALFORMED_REQUEST if the bytes are not such a message, UNIMPLEMENTED if it has unknown fields. */
export function decode<D extends DescMessage>(schema: D, bytes: Uint8Array): MessageShape<D> {
  const message = decodeWithUnknown(schema, bytes);
  checkFieldsKnown(schema, message);
  return message;
}

function decodeWithUnknown<D extends DescMessage>(schema: D, bytes: Uint8Array): MessageShape<D> {
  try {
    return fromBinary(schema, bytes, { readUnknownFields: true });
  } catch (cause) {
    const text = cause instanceof Error ? cause.message : String(cause);
    const message = `the request is not a valid ${schema.typeName}: ${text}`;
    throw new SluiceError('MALFORMED_REQUEST', message, { cause });
  }
}

import { SluiceError } from '../base/errors.js';

/**
 * Unknown fields are refused, not dropped: the client relies on a feature that this broker does not have.
 * `GetServerInfo` lists the features that it has.
 */
export function unknownField(typeName: string, field: number, path: string): SluiceError {
  const text = `this broker does not know field ${field} of ${typeName}: it belongs to a later version of the API`;
  return new SluiceError('UNIMPLEMENTED', path === '' ? text : `${path}: ${text}`, {
    field: path === '' ? String(field) : `${path}.${field}`,
  });
}

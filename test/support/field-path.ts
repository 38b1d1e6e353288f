import type { DescField, DescMessage } from '@bufbuild/protobuf';

/** Whether a message type has the field of a path such as `settlements[2].nack.delay`. It may end with a oneof. */
export function hasFieldPath(message: DescMessage, path: string): boolean {
  let at: DescMessage | undefined = message;
  const segments = path.split('.');
  for (const [index, segment] of segments.entries()) {
    const [, name, subscript] = /^(\w+)(\[\d+\])?$/.exec(segment) ?? [];
    if (at === undefined || name === undefined) return false;
    const isLast = index === segments.length - 1;
    if (isLast && at.oneofs.some((oneof) => oneof.name === name)) return true;
    const field: DescField | undefined = at.fields.find((each) => each.name === name);
    if (field === undefined || (subscript !== undefined && field.fieldKind !== 'list')) return false;
    at = field.message;
  }
  return true;
}

import type { DescField, DescMessage, Message } from '@bufbuild/protobuf';
import { unknownField } from '../envelope/unknown-field.js';

/** Throws UNIMPLEMENTED if the request, or a message in it, has a field that its type does not have. */
export function checkFieldsKnown(schema: DescMessage, request: Message): void {
  const found = finderOf(schema)(request);
  if (found !== undefined) throw unknownField(found.typeName, found.field, found.path.join('.'));
}

interface Unknown {
  readonly typeName: string;
  readonly field: number;
  /** The path of fields to the message. */
  readonly path: readonly string[];
}

type Find = (message: Message) => Unknown | undefined;

/** One for each message type, created when first needed. Request types do not contain themselves. */
const finders = new Map<DescMessage, Find>();

function finderOf(schema: DescMessage): Find {
  let find = finders.get(schema);
  if (find === undefined) {
    find = createFinder(schema);
    finders.set(schema, find);
  }
  return find;
}

function createFinder(schema: DescMessage): Find {
  const inside = schema.fields.map(findInField).filter((find) => find !== undefined);
  return (message) => {
    const unknown = message.$unknown?.[0];
    if (unknown !== undefined) return { typeName: schema.typeName, field: unknown.no, path: [] };
    for (const find of inside) {
      const found = find(message);
      if (found !== undefined) return found;
    }
    return undefined;
  };
}

/** Undefined for a field without messages. */
function findInField(field: DescField): Find | undefined {
  if (field.message === undefined || field.fieldKind === 'map') return undefined;
  const find = finderOf(field.message);
  const { name } = field;
  const behind = (found: Unknown | undefined) =>
    found === undefined ? undefined : { ...found, path: [name, ...found.path] };
  if (field.fieldKind !== 'list') {
    const messageIn = messageGetter(field);
    return (message) => {
      const value = messageIn(message as unknown as Values);
      return value === undefined ? undefined : behind(find(value));
    };
  }
  const { localName } = field;
  return (message) => {
    for (const item of (message as unknown as Values)[localName] as Message[]) {
      const found = find(item);
      if (found !== undefined) return behind(found);
    }
    return undefined;
  };
}

/** The fields of a message by their local names. A oneof names its field that is set. */
type Values = Readonly<Record<string, unknown>>;

function messageGetter({ localName, oneof }: DescField): (values: Values) => Message | undefined {
  if (oneof === undefined) return (values) => values[localName] as Message | undefined;
  const oneofName = oneof.localName;
  return (values) => {
    const chosen = values[oneofName] as { readonly case?: string; readonly value?: Message };
    return chosen.case === localName ? chosen.value : undefined;
  };
}

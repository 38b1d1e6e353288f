import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';

/** The number of `sluice.v1.Message.headers`, and of name and value in its entries. */
const headersField = 3;
const nameField = 1;
const valueField = 2;

/** What the broker writes on a dead letter. Nobody else can: producers' headers may not begin with `sluice-`. */
export const letterHeaders = {
  topic: 'sluice-dead-letter-topic',
  partition: 'sluice-dead-letter-partition',
  offset: 'sluice-dead-letter-offset',
  subscription: 'sluice-dead-letter-subscription',
  attempts: 'sluice-dead-letter-attempts',
  reason: 'sluice-dead-letter-reason',
  time: 'sluice-dead-letter-time',
} as const;

/** Who gave a dead letter up, and where it stood. */
export interface LetterOrigin {
  readonly topic: string;
  readonly subscription: string;
  readonly partition: number;
}

/** Where an encoded `messages` field says that it came from; undefined for what is no dead letter. */
export function originOf(entry: Uint8Array): LetterOrigin | undefined {
  const found = new Map<string, string>();
  const reader = new BinaryReader(entry);
  reader.tag();
  const end = reader.uint32() + reader.pos;
  while (reader.pos < end) {
    const [field, wireType] = reader.tag();
    if (field === headersField && wireType === WireType.LengthDelimited) readHeader(reader, found);
    else reader.skip(wireType, field);
  }
  const topic = found.get(letterHeaders.topic);
  const subscription = found.get(letterHeaders.subscription);
  if (topic === undefined || subscription === undefined) return undefined;
  return { topic, subscription, partition: Number(found.get(letterHeaders.partition)) };
}

/** Reads one entry of the map. A letter that was given up twice has its headers twice: the last ones count. */
function readHeader(reader: BinaryReader, headers: Map<string, string>): void {
  const end = reader.uint32() + reader.pos;
  let name = '';
  let value = '';
  while (reader.pos < end) {
    const [field, wireType] = reader.tag();
    if (field === nameField && wireType === WireType.LengthDelimited) name = reader.string();
    else if (field === valueField && wireType === WireType.LengthDelimited) value = reader.string();
    else reader.skip(wireType, field);
  }
  headers.set(name, value);
}

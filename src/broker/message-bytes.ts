import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';

/** The number of `sluice.v1.Message.key`. */
const keyField = 1;

/** Where the key of an encoded `messages` field stands; empty where the message has none. */
export function messageKeyRange(entry: Uint8Array): { from: number; to: number } {
  const reader = new BinaryReader(entry);
  reader.tag();
  const messageEnd = reader.uint32() + reader.pos;
  let range = { from: 0, to: 0 };
  while (reader.pos < messageEnd) {
    const [field, wireType] = reader.tag();
    if (field === keyField && wireType === WireType.LengthDelimited) {
      const length = reader.uint32();
      // Of a field that stands twice, the last one counts.
      range = { from: reader.pos, to: reader.pos + length };
      reader.pos += length;
    } else {
      reader.skip(wireType);
    }
  }
  return range;
}

import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { keyField } from './fields.js';

/** A range of encoded bytes; empty if both ends are equal. */
export interface ByteRange {
  readonly from: number;
  readonly to: number;
}

/** Encoded `messages` fields without gaps, and where each of them ends. */
export interface EncodedMessages {
  readonly messages: Uint8Array;
  readonly ends: Uint32Array;
}

/** One message of a run, as its encoded `messages` field. Shares the memory of the run. */
export function messageEntry(run: EncodedMessages, index: number): Uint8Array {
  return run.messages.subarray(index === 0 ? 0 : run.ends[index - 1], run.ends[index]);
}

/** The range of the key in an encoded `messages` field. */
export function messageKeyRange(entry: Uint8Array): ByteRange {
  return readKeyRange(new BinaryReader(entry));
}

/** Calculates a number from the key of each of these `messages` fields: `keyNumber` gets the range of the key. */
export function numbersOfKeys(
  messages: Uint8Array,
  count: number,
  keyNumber: (bytes: Uint8Array, from: number, to: number) => number,
): Uint32Array {
  const numbers = new Uint32Array(count);
  const reader = new BinaryReader(messages);
  for (let i = 0; i < count; i++) {
    const { from, to } = readKeyRange(reader);
    numbers[i] = keyNumber(messages, from, to);
  }
  return numbers;
}

/** Reads over one `messages` field. If the key occurs twice, the last one counts. */
function readKeyRange(reader: BinaryReader): ByteRange {
  reader.tag();
  const end = reader.uint32() + reader.pos;
  let from = 0;
  let to = 0;
  while (reader.pos < end) {
    const [field, wireType] = reader.tag();
    if (wireType !== WireType.LengthDelimited) {
      reader.skip(wireType);
      continue;
    }
    const length = reader.uint32();
    if (field === keyField) {
      from = reader.pos;
      to = from + length;
    }
    reader.pos += length;
  }
  return { from, to };
}

import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { orderingKey } from '../core/routing.js';
import type { StoredRun } from '../storage/types.js';

/** The field number of `sluice.v1.Message.key`. */
const keyField = 1;

/** A range of encoded bytes; empty if both ends are equal. */
export interface ByteRange {
  readonly from: number;
  readonly to: number;
}

/** One message of a run, as its encoded `messages` field. Shares the memory of the run. */
export function messageEntry(run: StoredRun, index: number): Uint8Array {
  return run.messages.subarray(index === 0 ? 0 : run.ends[index - 1], run.ends[index]);
}

/** The range of the key in an encoded `messages` field. */
export function messageKeyRange(entry: Uint8Array): ByteRange {
  return readKeyRange(new BinaryReader(entry));
}

/** The ordering key of each message of a run. */
export function orderingKeysOf(run: StoredRun): Uint32Array {
  const keys = new Uint32Array(run.count);
  const reader = new BinaryReader(run.messages);
  for (let i = 0; i < run.count; i++) {
    const { from, to } = readKeyRange(reader);
    keys[i] = orderingKey(run.messages, from, to);
  }
  return keys;
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

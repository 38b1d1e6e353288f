import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { CounterRecordSchema } from '../../gen/sluice/storage/v1/records_pb.js';

/** The next free ids. */
export interface Counters {
  readonly nextTopicId: number;
  readonly nextSubscriptionId: number;
}

export function encodeCounters(counters: Counters): Uint8Array {
  return toBinary(CounterRecordSchema, create(CounterRecordSchema, counters));
}

export function decodeCounters(bytes: Uint8Array): Counters {
  const { nextTopicId, nextSubscriptionId } = fromBinary(CounterRecordSchema, bytes);
  return { nextTopicId, nextSubscriptionId };
}

import { fromBinary } from '@bufbuild/protobuf';
import { ProducerRecordSchema } from '../../gen/sluice/storage/v1/records_pb.js';
import { producersColumn } from '../engine/columns.js';
import { producerKey } from '../engine/keys.js';
import type { ChangeTarget } from './change-target.js';
import { varintFieldLength, writeVarintField } from './varint.js';

/** The position of an idempotent producer in one topic. */
export interface ProducerState {
  readonly epoch: number;
  /** 0 before the first message. */
  readonly lastSequence: number;
  /** The last sequence of the epochs before. */
  readonly baseSequence: number;
  /** From the call that claimed the epoch; 0 or absent: none. */
  readonly claimId?: number;
}

export interface ProducerUpdate extends ProducerState {
  readonly kind: 'producer';
  readonly topicId: number;
  readonly producerId: string;
}

export function writeProducer(update: ProducerUpdate, target: ChangeTarget): void {
  target.put(producersColumn, producerKey(update.topicId, update.producerId), encodeProducer(update));
}

export function encodeProducer(state: ProducerState): Buffer {
  const { epoch, lastSequence, baseSequence, claimId = 0 } = state;
  const bytes = Buffer.allocUnsafe(
    varintFieldLength(epoch) +
      varintFieldLength(lastSequence) +
      varintFieldLength(baseSequence) +
      varintFieldLength(claimId),
  );
  let at = writeVarintField(bytes, 0x08, epoch, 0);
  at = writeVarintField(bytes, 0x10, lastSequence, at);
  at = writeVarintField(bytes, 0x18, baseSequence, at);
  writeVarintField(bytes, 0x20, claimId, at);
  return bytes;
}

export function decodeProducer(bytes: Uint8Array): ProducerState {
  const { epoch, lastSequence, baseSequence, claimId } = fromBinary(ProducerRecordSchema, bytes);
  return {
    epoch: Number(epoch),
    lastSequence: Number(lastSequence),
    baseSequence: Number(baseSequence),
    ...(claimId !== 0n && { claimId: Number(claimId) }),
  };
}

import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import type { SluiceError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import type { Durability } from '../../base/model.js';
import type { Receipt } from '../../broker/types.js';
import type { PartitionInterval } from '../../core/types.js';
import { PublishResponseSchema, type PublishStreamResponseSchema } from '../../gen/sluice/v1/broker_pb.js';
import { Durability as ApiDurability } from '../../gen/sluice/v1/message_pb.js';
import type { Encoded } from '../call.js';
import { secondsAndNanos } from '../duration.js';
import { errorText } from '../error-text.js';
import type { Uint64 } from './publish-scan.js';
import { numberFieldBytes, textFieldBytes, WireWriter } from './wire-writer.js';

/** Tags of PublishStreamResponse, OffsetRange and PublishError. */
const batchIdTag = 0x08;
const errorTag = 0x12;
const messageCountTag = 0x18;
const duplicateCountTag = 0x20;
const rangesTag = 0x2a;
const durabilityTag = 0x30;
const partitionTag = 0x08;
const firstOffsetTag = 0x10;
const lastOffsetTag = 0x18;
const codeTag = 0x08;
const messageTag = 0x12;
const reasonTag = 0x1a;
const retryDelayTag = 0x22;
const secondsTag = 0x08;
const nanosTag = 0x10;

/** The most bytes that the number fields take, and one range. */
const numbersBytes = 64;
const rangeBytes = 2 + 3 * 11;

const writer = new WireWriter();

export const apiDurability: Readonly<Record<Durability, ApiDurability>> = {
  written: ApiDurability.WRITTEN,
  synced: ApiDurability.SYNCED,
};

export function toRange({ partition, first, last }: PartitionInterval) {
  return { partition, firstOffset: BigInt(first), lastOffset: BigInt(last) };
}

/** One for a whole stream: not a hot path. */
export function encodePublishResponse(
  response: MessageInitShape<typeof PublishResponseSchema>,
): Encoded<typeof PublishResponseSchema> {
  return toBinary(PublishResponseSchema, create(PublishResponseSchema, response));
}

/** The largest size of the answer to a batch of so many messages. */
export function answerBytesAtMost(messageCount: number): number {
  const rangesBytes = Math.min(messageCount, limits.largestMaxPartitionCount) * rangeBytes;
  return Math.max(numbersBytes + rangesBytes, limits.maxErrorTextLength + 2 * numbersBytes);
}

/** A PublishStreamResponse for a stored batch, encoded. Valid until the next call. */
export function encodeReceipt(
  batchId: Uint64,
  receipt: Receipt,
): Encoded<typeof PublishStreamResponseSchema> {
  writer.begin(numbersBytes + receipt.ranges.length * rangeBytes);
  writeBatchId(batchId);
  writer.numberField(messageCountTag, receipt.messageCount);
  writer.numberField(duplicateCountTag, receipt.duplicateCount);
  for (const range of receipt.ranges) writeRange(range);
  writer.numberField(durabilityTag, apiDurability[receipt.durability]);
  return writer.finish();
}

/** A PublishStreamResponse for a refused batch, encoded. Valid until the next call. */
export function encodeRefusal(
  batchId: Uint64,
  error: SluiceError,
): Encoded<typeof PublishStreamResponseSchema> {
  const message = errorText(error);
  const messageLength = Buffer.byteLength(message);
  const reasonLength = Buffer.byteLength(error.reason);
  const errorLength =
    numberFieldBytes(error.code) +
    textFieldBytes(messageLength) +
    textFieldBytes(reasonLength) +
    retryDelayBytes(error);
  writer.begin(numbersBytes + errorLength);
  writeBatchId(batchId);
  writer.byte(errorTag);
  writer.varint(errorLength);
  writer.numberField(codeTag, error.code);
  writer.textField(messageTag, message, messageLength);
  writer.textField(reasonTag, error.reason, reasonLength);
  writeRetryDelay(error);
  return writer.finish();
}

function retryDelayBytes({ details: { retryAfterMs } }: SluiceError): number {
  if (retryAfterMs === undefined) return 0;
  const { seconds, nanos } = secondsAndNanos(retryAfterMs);
  return textFieldBytes(numberFieldBytes(seconds) + numberFieldBytes(nanos));
}

function writeRetryDelay({ details: { retryAfterMs } }: SluiceError): void {
  if (retryAfterMs === undefined) return;
  const { seconds, nanos } = secondsAndNanos(retryAfterMs);
  writer.byte(retryDelayTag);
  writer.varint(numberFieldBytes(seconds) + numberFieldBytes(nanos));
  writer.numberField(secondsTag, seconds);
  writer.numberField(nanosTag, nanos);
}

function writeBatchId({ low, high }: Uint64): void {
  if (low === 0 && high === 0) return;
  writer.byte(batchIdTag);
  writer.varint64(low, high);
}

function writeRange({ partition, first, last }: PartitionInterval): void {
  writer.byte(rangesTag);
  writer.varint(numberFieldBytes(partition) + numberFieldBytes(first) + numberFieldBytes(last));
  writer.numberField(partitionTag, partition);
  writer.numberField(firstOffsetTag, first);
  writer.numberField(lastOffsetTag, last);
}

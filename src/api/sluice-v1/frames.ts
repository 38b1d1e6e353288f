import { invariant } from '../../base/invariant.js';
import { type SpareMemory, smallestSpareBlockBytes } from '../../base/spare-memory.js';
import type { DeliveredRun } from '../../broker/types.js';
import type { Call } from '../call.js';
import { messagePrefixBytes, writeMessagePrefix } from '../message-prefix.js';
import { numberFieldBytes, textFieldBytes, varintBytes, WireWriter } from './wire-writer.js';

/** The tag of `runs` in each response that contains them. */
export const runsTag = { SubscribeResponse: 0x12, ConsumeResponse: 0x12, ReadResponse: 0x0a } as const;

/** Tags of MessageRun and of its Timestamp. The encoded messages bring their own. */
const partitionTag = 0x08;
const firstOffsetTag = 0x10;
const publishTimeTag = 0x1a;
const producerIdTag = 0x22;
const attemptTag = 0x28;
const deliveryIdTag = 0x30;
const secondsTag = 0x08;
const nanosTag = 0x10;

const writer = new WireWriter();
/** The lengths of the runs that were measured last. */
const runLengths: number[] = [];

/**
 * Encodes a response that contains only these runs. The messages are copied, never parsed. Valid until the next
 * call.
 */
export function encodeRuns(tag: number, runs: readonly DeliveredRun[]): Buffer {
  writer.begin(measureRuns(runs));
  writeRuns(tag, runs);
  return writer.finish();
}

/**
 * Sends such a response. Its memory is reused when it has left for the transport: at full speed, frames are most
 * of the memory that a broker allocates.
 */
export function sendRuns(
  call: Pick<Call, 'isOver' | 'send' | 'sendFramed'>,
  memory: SpareMemory,
  tag: number,
  runs: readonly DeliveredRun[],
  written: () => void,
): void {
  const byteLength = measureRuns(runs);
  if (byteLength < smallestSpareBlockBytes) {
    writer.begin(byteLength);
    writeRuns(tag, runs);
    call.send(writer.finish(), written);
    return;
  }
  const block = memory.take(messagePrefixBytes + byteLength);
  const frame = Buffer.from(block, 0, messagePrefixBytes + byteLength);
  writeMessagePrefix(frame);
  writer.beginIn(frame, messagePrefixBytes);
  writeRuns(tag, runs);
  call.sendFramed(frame, () => {
    // Node also calls back for a destroyed connection, and the socket may still use the frame.
    if (!call.isOver) memory.giveBack(block);
    written();
  });
}

/** Bytes of a response with these runs. */
function measureRuns(runs: readonly DeliveredRun[]): number {
  let byteLength = 0;
  for (let i = 0; i < runs.length; i++) {
    const runLength = runBytes(runs[i]!);
    runLengths[i] = runLength;
    byteLength += 1 + varintBytes(runLength) + runLength;
  }
  return byteLength;
}

/** Writes the runs that were measured last. */
function writeRuns(tag: number, runs: readonly DeliveredRun[]): void {
  for (let i = 0; i < runs.length; i++) {
    writer.byte(tag);
    writer.varint(runLengths[i]!);
    writeRun(runs[i]!);
  }
}

function runBytes(delivered: DeliveredRun): number {
  const { run, from } = delivered;
  const timeLength = timeBytes(run.publishTimeMs);
  return (
    numberFieldBytes(run.partition) +
    numberFieldBytes(run.firstOffset + from) +
    (1 + varintBytes(timeLength) + timeLength) +
    textFieldBytes(encodedProducerId(run.producerId).length) +
    numberFieldBytes(delivered.attempt) +
    numberFieldBytes(delivered.deliveryId) +
    (messagesEnd(delivered) - messagesStart(delivered))
  );
}

function writeRun(delivered: DeliveredRun): void {
  const { run, from } = delivered;
  writer.numberField(partitionTag, run.partition);
  writer.numberField(firstOffsetTag, run.firstOffset + from);
  writer.byte(publishTimeTag);
  writer.varint(timeBytes(run.publishTimeMs));
  writer.numberField(secondsTag, Math.floor(run.publishTimeMs / 1000));
  writer.numberField(nanosTag, (run.publishTimeMs % 1000) * 1_000_000);
  writer.bytesField(producerIdTag, encodedProducerId(run.producerId));
  writer.numberField(attemptTag, delivered.attempt);
  writer.numberField(deliveryIdTag, delivered.deliveryId);
  const end = messagesEnd(delivered);
  invariant(end <= run.messages.length, 'the memory of a run is in use for another');
  writer.copy(run.messages, messagesStart(delivered), end);
}

let lastProducerId = '';
let lastEncoded: Uint8Array = new Uint8Array(0);

/** Consecutive runs mostly have the same producer. */
function encodedProducerId(producerId: string): Uint8Array {
  if (producerId !== lastProducerId) {
    lastEncoded = Buffer.from(producerId);
    lastProducerId = producerId;
  }
  return lastEncoded;
}

/** The broker's times are after 1970: never negative. */
function timeBytes(timeMs: number): number {
  return numberFieldBytes(Math.floor(timeMs / 1000)) + numberFieldBytes((timeMs % 1000) * 1_000_000);
}

function messagesStart({ run, from }: DeliveredRun): number {
  return from === 0 ? 0 : run.ends[from - 1]!;
}

function messagesEnd({ run, to }: DeliveredRun): number {
  return to === 0 ? 0 : run.ends[to - 1]!;
}

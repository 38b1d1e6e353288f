import { limits } from '../../base/limits.js';
import type { Outcome, Settlement } from '../../core/types.js';
import { WireCursor, WireFault } from '../../envelope/wire-cursor.js';

/** Tags of ConsumeRequest, of Settlement and of OffsetRange. */
const settlementsTag = 0x12;
const settlementIdTag = 0x20;
const lastDeliveryIdTag = 0x28;
const offsetsTag = 0x0a;
const ackTag = 0x12;
const partitionTag = 0x08;
const firstOffsetTag = 0x10;
const lastOffsetTag = 0x18;

const ack: Outcome = { kind: 'ack' };
const cursor = new WireCursor();

/** The settlements of a ConsumeRequest. */
export interface SettlementRequest {
  readonly settlements: readonly Settlement[];
  readonly settlementId: bigint;
  /** Infinity if the request does not contain it. */
  readonly lastDeliveryId: number;
}

/**
 * Scans a ConsumeRequest that contains only acknowledgements, as nearly all do, without creating an object for
 * each field. Undefined for any other request and for one with a fault: those are decoded in full, which finds the
 * fault.
 */
export function scanAcks(bytes: Uint8Array): SettlementRequest | undefined {
  if (bytes[0] !== settlementsTag) return undefined;
  try {
    cursor.bytes = bytes;
    cursor.pos = 0;
    return scanRequest(bytes.length);
  } catch (error) {
    if (error instanceof WireFault) return undefined;
    throw error;
  } finally {
    cursor.bytes = new Uint8Array(0);
  }
}

function scanRequest(end: number): SettlementRequest | undefined {
  const settlements: Settlement[] = [];
  let settlementId = 0n;
  let lastDeliveryId = Number.POSITIVE_INFINITY;
  while (cursor.pos < end) {
    const tag = cursor.tag(end);
    if (tag === settlementIdTag) {
      cursor.varint64(end);
      settlementId = (BigInt(cursor.high) << 32n) | BigInt(cursor.low);
      continue;
    }
    if (tag === lastDeliveryIdTag) {
      cursor.varint64(end);
      if (cursor.high >= 0x20_0000) return undefined;
      lastDeliveryId = cursor.high * 0x1_0000_0000 + cursor.low || Number.POSITIVE_INFINITY;
      continue;
    }
    if (tag !== settlementsTag || settlements.length === limits.maxSettlementsPerRequest) return undefined;
    const settlement = scanAck(cursor.fieldEnd(end));
    if (settlement === undefined) return undefined;
    settlements.push(settlement);
  }
  return { settlements, settlementId, lastDeliveryId };
}

/** Offsets, then an empty `ack`: the order in which every encoder writes them. */
function scanAck(end: number): Settlement | undefined {
  if (cursor.tag(end) !== offsetsTag) return undefined;
  const rangeEnd = cursor.fieldEnd(end);
  let partition = 0;
  let first = 0;
  let last = 0;
  while (cursor.pos < rangeEnd) {
    const tag = cursor.tag(rangeEnd);
    if (tag !== partitionTag && tag !== firstOffsetTag && tag !== lastOffsetTag) return undefined;
    cursor.varint64(rangeEnd);
    // The full conversion refuses or reduces larger numbers.
    if (cursor.high >= 0x20_0000) return undefined;
    const value = cursor.high * 0x1_0000_0000 + cursor.low;
    if (tag === partitionTag) partition = value;
    else if (tag === firstOffsetTag) first = value;
    else last = value;
  }
  const isAck = cursor.tag(end) === ackTag && cursor.fieldEnd(end) === end && cursor.pos === end;
  if (!isAck || first > last || partition > 0xffff_ffff) return undefined;
  return { partition, first, last, outcome: ack };
}

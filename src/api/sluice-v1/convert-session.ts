import type { MessageInitShape } from '@bufbuild/protobuf';
import type { CallContext } from '../../base/call-context.js';
import { limits } from '../../base/limits.js';
import type { ConsumeOptions, SessionInfo } from '../../broker/types.js';
import type { Credit, Outcome, Settlement, SettleResult } from '../../core/types.js';
import type {
  AcknowledgeResponseSchema,
  Settlement as ApiSettlement,
  FlowControl,
  FlowControlSchema,
  HeartbeatSchema,
  SessionOpenedSchema,
  SubscribeRequest,
} from '../../gen/sluice/v1/broker_pb.js';
import { toDuration } from '../duration.js';
import { earliest, toStart } from './convert-start.js';
import { checkName, invalidField, toMs, toNumber, toNumberAtMost, toTimestamp } from './convert-values.js';
import { toRange } from './receipts.js';

export function toConsumeOptions(
  request: SubscribeRequest,
  context: CallContext,
  prefix = '',
): ConsumeOptions {
  return {
    topic: checkName(request.topic, `${prefix}topic`),
    subscription: checkName(request.subscription, `${prefix}subscription`),
    consumerId: request.consumerId,
    context,
    credit: toCredit(request.flowControl),
    start: toStart(request.start, `${prefix}start`) ?? earliest,
  };
}

/** The fields of the request. The broker fills in absent ones. */
export function toCredit(flowControl: FlowControl | undefined): Partial<Credit> {
  const messages = flowControl?.maxOutstandingMessages;
  const bytes = flowControl?.maxOutstandingBytes;
  return {
    ...(messages === undefined ? {} : { messages }),
    ...(bytes === undefined ? {} : { bytes: toNumberAtMost(bytes) }),
  };
}

export function fromCredit(credit: Credit): MessageInitShape<typeof FlowControlSchema> {
  // A credit that was never set may be unlimited.
  const bytes = Math.min(credit.bytes, Number.MAX_SAFE_INTEGER);
  return {
    maxOutstandingMessages: Math.min(credit.messages, 0xffff_ffff),
    maxOutstandingBytes: BigInt(bytes),
  };
}

export function fromSession(session: SessionInfo): MessageInitShape<typeof SessionOpenedSchema> {
  return {
    sessionId: session.sessionId,
    flowControl: fromCredit(session.credit),
    ackDeadline: toDuration(session.ackDeadlineMs),
  };
}

export function fromHeartbeat(
  timeMs: number,
  backlogMessageCount: number,
): MessageInitShape<typeof HeartbeatSchema> {
  return { time: toTimestamp(timeMs), backlogMessageCount: BigInt(backlogMessageCount) };
}

/** Zero: unknown. All outstanding messages may be settled. */
export function toLastDeliveryId(id: bigint): number {
  return id === 0n ? Number.POSITIVE_INFINITY : toNumberAtMost(id);
}

export function toSettlements(settlements: readonly ApiSettlement[]): Settlement[] {
  if (settlements.length > limits.maxSettlementsPerRequest) {
    throw invalidField('settlements', `a request may hold ${limits.maxSettlementsPerRequest} of them`);
  }
  return settlements.map((settlement, index) => toSettlement(settlement, `settlements[${index}]`));
}

function toSettlement({ offsets, outcome }: ApiSettlement, field: string): Settlement {
  if (offsets === undefined) throw invalidField(`${field}.offsets`, 'is missing');
  const first = toNumber(offsets.firstOffset, `${field}.offsets.first_offset`);
  // A range that is open to the end is valid.
  const last = toNumberAtMost(offsets.lastOffset);
  return { partition: offsets.partition, first, last, outcome: toOutcome(outcome, field) };
}

function toOutcome(outcome: ApiSettlement['outcome'], field: string): Outcome {
  switch (outcome.case) {
    case 'ack':
      return { kind: 'ack' };
    case 'nack': {
      const { reason, delay } = outcome.value;
      if (delay === undefined) return { kind: 'nack', reason };
      return { kind: 'nack', reason, delayMs: toMs(delay, `${field}.nack.delay`) };
    }
    case 'extend': {
      const byMs = toMs(outcome.value.by, `${field}.extend.by`);
      if (byMs === 0) throw invalidField(`${field}.extend.by`, 'is missing or zero');
      return { kind: 'extend', byMs };
    }
    case 'deadLetter':
      return { kind: 'deadLetter', reason: outcome.value.reason };
    case undefined:
      throw invalidField(`${field}.outcome`, 'is missing: ack, nack, extend or dead_letter');
  }
}

export function fromSettleResult(result: SettleResult): MessageInitShape<typeof AcknowledgeResponseSchema> {
  return { settledCount: BigInt(result.settledCount), stale: result.stale.map(toRange) };
}

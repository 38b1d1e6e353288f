import { fromBinary, type MessageInitShape } from '@bufbuild/protobuf';
import type { ConsumerInfo, MessageInfo, ServerInfo } from '../broker/types.js';
import {
  type ConsumerSchema,
  type GetMessageResponseSchema,
  type GetServerInfoResponseSchema,
  MessageStatus_State as MessageState,
  Consumer_WaitReason as WaitReason,
} from '../gen/sluice/v1/admin_pb.js';
import { ReadResponseSchema } from '../gen/sluice/v1/broker_pb.js';
import { fromCredit } from './convert-session.js';
import { toTimestamp } from './convert-values.js';
import { encodeRuns, runsTag } from './frames.js';
import { apiDurability } from './receipts.js';

const waitReasons: Readonly<Record<NonNullable<ConsumerInfo['waitReason']>, WaitReason>> = {
  caughtUp: WaitReason.CAUGHT_UP,
  messageCredit: WaitReason.MESSAGE_CREDIT,
  byteCredit: WaitReason.BYTE_CREDIT,
  transport: WaitReason.TRANSPORT,
  backoff: WaitReason.BACKOFF,
  notAssigned: WaitReason.NOT_ASSIGNED,
  // A read is under way: the consumer is not waiting for anything of its own.
  reading: WaitReason.UNSPECIFIED,
};

export function fromConsumer(consumer: ConsumerInfo): MessageInitShape<typeof ConsumerSchema> {
  return {
    sessionId: consumer.sessionId,
    consumerId: consumer.consumerId,
    topic: consumer.topic,
    subscription: consumer.subscription,
    peer: consumer.peer,
    connectTime: toTimestamp(consumer.connectTimeMs),
    flowControl: fromCredit(consumer.credit),
    outstandingMessageCount: BigInt(consumer.outstandingMessageCount),
    outstandingBytes: BigInt(consumer.outstandingBytes),
    partitions: [...consumer.partitions],
    waitReason: consumer.waitReason === undefined ? WaitReason.UNSPECIFIED : waitReasons[consumer.waitReason],
  };
}

const messageStates: Readonly<Record<MessageInfo['statuses'][number]['state'], MessageState>> = {
  pending: MessageState.PENDING,
  processing: MessageState.PROCESSING,
  done: MessageState.DONE,
  failed: MessageState.FAILED,
};

export function fromMessageInfo(info: MessageInfo): MessageInitShape<typeof GetMessageResponseSchema> {
  // Looking at one message is no hot path: what goes out is what a reader would decode. Copied, because the frame
  // is written over by the next one.
  const frame = Buffer.from(encodeRuns(runsTag.ReadResponse, [info.message]));
  const run = fromBinary(ReadResponseSchema, frame).runs[0];
  return {
    ...(run === undefined ? {} : { run }),
    statuses: info.statuses.map(({ subscription, state, failedAttempts, sessionId }) => ({
      subscription,
      state: messageStates[state],
      failedAttempts,
      sessionId: sessionId ?? '',
    })),
  };
}

export function fromServerInfo(info: ServerInfo): MessageInitShape<typeof GetServerInfoResponseSchema> {
  return {
    version: info.version,
    startTime: toTimestamp(info.startTimeMs),
    maxPartitionCount: info.maxPartitionCount,
    maxMessageBytes: BigInt(info.maxMessageBytes),
    maxRequestBytes: BigInt(info.maxRequestBytes),
    defaultDurability: apiDurability[info.defaultDurability],
  };
}

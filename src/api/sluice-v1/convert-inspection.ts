import { fromBinary, type MessageInitShape } from '@bufbuild/protobuf';
import type {
  ConsumerInfo,
  DeliveredRun,
  HoldReason,
  MessageInfo,
  ProducerInfo,
  ServerInfo,
  WaitReason,
} from '../../broker/types.js';
import {
  Producer_HoldReason as ApiHoldReason,
  Consumer_WaitReason as ApiWaitReason,
  type ConsumerSchema,
  type GetMessageResponseSchema,
  type GetServerInfoResponseSchema,
  MessageStatus_State as MessageState,
  type ProducerSchema,
} from '../../gen/sluice/v1/admin_pb.js';
import { ReadResponseSchema } from '../../gen/sluice/v1/broker_pb.js';
import type { MessageRun } from '../../gen/sluice/v1/message_pb.js';
import { toDuration } from '../duration.js';
import { fromCredit } from './convert-session.js';
import { toTimestamp } from './convert-values.js';
import { encodeRuns, runsTag } from './frames.js';
import { apiDurability } from './receipts.js';

const holdReasons: Readonly<Record<HoldReason, ApiHoldReason>> = {
  writer: ApiHoldReason.WRITER,
  share: ApiHoldReason.SHARE,
  backlog: ApiHoldReason.BACKLOG,
  disk: ApiHoldReason.DISK,
  receipts: ApiHoldReason.RECEIPTS,
};

export function fromProducer(producer: ProducerInfo): MessageInitShape<typeof ProducerSchema> {
  const { hold } = producer;
  return {
    topic: producer.topic,
    producerId: producer.producerId,
    peer: producer.peer,
    connectTime: toTimestamp(producer.connectTimeMs),
    messageCount: BigInt(producer.messageCount),
    pendingRequestCount: BigInt(producer.pendingBatchCount),
    ...(hold !== undefined && { holdReason: holdReasons[hold.reason], holdTime: toDuration(hold.forMs) }),
  };
}

const waitReasons: Readonly<Record<WaitReason, ApiWaitReason>> = {
  caughtUp: ApiWaitReason.CAUGHT_UP,
  messageCredit: ApiWaitReason.MESSAGE_CREDIT,
  byteCredit: ApiWaitReason.BYTE_CREDIT,
  transport: ApiWaitReason.TRANSPORT,
  backoff: ApiWaitReason.BACKOFF,
  notAssigned: ApiWaitReason.NOT_ASSIGNED,
  // During a read the consumer does not wait for anything.
  reading: ApiWaitReason.UNSPECIFIED,
};

export function fromConsumer(consumer: ConsumerInfo): MessageInitShape<typeof ConsumerSchema> {
  const { wait } = consumer;
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
    ...(wait !== undefined && { waitReason: waitReasons[wait.reason], waitTime: toDuration(wait.forMs) }),
  };
}

const messageStates: Readonly<Record<MessageInfo['statuses'][number]['state'], MessageState>> = {
  pending: MessageState.PENDING,
  processing: MessageState.PROCESSING,
  done: MessageState.DONE,
  failed: MessageState.FAILED,
};

export function fromMessageInfo(info: MessageInfo): MessageInitShape<typeof GetMessageResponseSchema> {
  const run = info.message === undefined ? undefined : toRun(info.message);
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

/** Not a hot path. The frame is copied, because the next one overwrites it. */
function toRun(message: DeliveredRun): MessageRun | undefined {
  const frame = Buffer.from(encodeRuns(runsTag.ReadResponse, [message]));
  return fromBinary(ReadResponseSchema, frame).runs[0];
}

export function fromServerInfo(info: ServerInfo): MessageInitShape<typeof GetServerInfoResponseSchema> {
  return {
    version: info.version,
    startTime: toTimestamp(info.startTimeMs),
    maxPartitionCount: info.maxPartitionCount,
    maxMessageBytes: BigInt(info.maxMessageBytes),
    maxRequestBytes: BigInt(info.maxRequestBytes),
    defaultDurability: apiDurability[info.defaultDurability],
    features: ['open-producer', 'delivery-id'],
  };
}

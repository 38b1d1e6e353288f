import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { ConsumeRequestSchema } from '../gen/sluice/v1/broker_pb.js';
import { type CompleteConsumerOptions, toStartPosition } from './options.js';

/** The first request of a stream. */
export function subscribeRequest(options: CompleteConsumerOptions, maxOutstandingMessages: number): Buffer {
  const { topic, subscription, consumerId, start, maxOutstandingBytes } = options;
  const flowControl = { maxOutstandingMessages, maxOutstandingBytes: BigInt(maxOutstandingBytes) };
  return encode({
    subscribe: { topic, subscription, consumerId, flowControl, start: toStartPosition(start) },
  });
}

export function creditRequest(maxOutstandingMessages: number): Buffer {
  return encode({ flowControl: { maxOutstandingMessages } });
}

function encode(request: MessageInitShape<typeof ConsumeRequestSchema>): Buffer {
  return Buffer.from(toBinary(ConsumeRequestSchema, create(ConsumeRequestSchema, request)));
}

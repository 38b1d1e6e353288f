import type { ServerInterceptingCallInterface } from '@grpc/grpc-js';
import { invariant } from '../../../base/invariant.js';

/** What stands before each message of a gRPC stream: a flag for compression, and its length. */
export const framePrefixBytes = 5;

export function writeFramePrefix(frame: Buffer): void {
  frame.writeUInt8(0, 0);
  frame.writeUInt32BE(frame.length - framePrefixBytes, 1);
}

/** A message with its prefix, in memory of its own. */
export function frameOf(message: Buffer): Buffer {
  const frame = Buffer.allocUnsafe(framePrefixBytes + message.length);
  writeFramePrefix(frame);
  frame.set(message, framePrefixBytes);
  return frame;
}

/**
 * From here on the call sends what it is given as it is: whole frames. By itself grpc-js puts the prefix before a
 * message by copying all of it into fresh memory, whatever it came in. The method is a private one of grpc-js 1.14;
 * where it is gone, no call works, and `test/integration/server-direct-call.test.ts` fails.
 */
export function takeFramesAsTheyAre(call: ServerInterceptingCallInterface): void {
  const opened = call as unknown as { serializeMessage: (message: Buffer) => Buffer };
  invariant(
    typeof opened.serializeMessage === 'function',
    'this release of grpc-js frames messages elsewhere',
  );
  opened.serializeMessage = asItIs;
}

/** From here on the call tells the length of each frame before it sends it. The same private method. */
export function countFrames(call: ServerInterceptingCallInterface, count: (bytes: number) => void): void {
  const opened = call as unknown as { serializeMessage: (message: unknown) => Buffer };
  invariant(
    typeof opened.serializeMessage === 'function',
    'this release of grpc-js frames messages elsewhere',
  );
  const serialize = opened.serializeMessage.bind(opened);
  opened.serializeMessage = (message) => {
    const frame = serialize(message);
    count(frame.length);
    return frame;
  };
}

/**
 * From here on the call reads its requests with this decoder, and decompresses none to more than `maxBytes`. Both
 * fields are private ones of grpc-js 1.14; `test/integration/server-request-bodies.test.ts` fails where they have moved.
 */
export function readRequestsWith(
  call: ServerInterceptingCallInterface,
  decoder: { write(data: Buffer): Buffer[] },
  maxBytes: number,
): void {
  const opened = call as unknown as { decoder: typeof decoder; maxReceiveMessageSize: number };
  invariant(
    typeof opened.decoder?.write === 'function' && typeof opened.maxReceiveMessageSize === 'number',
    'this release of grpc-js decodes requests elsewhere',
  );
  opened.decoder = decoder;
  opened.maxReceiveMessageSize = maxBytes;
}

function asItIs(frame: Buffer): Buffer {
  return frame;
}

import type { ServerInterceptingCallInterface } from '@grpc/grpc-js';
import { invariant } from '../../../base/invariant.js';

/**
 * Makes the call send whole frames as they are. Without this, grpc-js adds the prefix by copying each message into
 * new memory. The method is a private one of grpc-js 1.14. If it changes, no call works, and
 * `test/integration/server-direct-call.test.ts` fails.
 */
export function takeFramesAsTheyAre(call: ServerInterceptingCallInterface): void {
  const opened = call as unknown as { serializeMessage: (message: Buffer) => Buffer };
  invariant(
    typeof opened.serializeMessage === 'function',
    'this release of grpc-js frames messages elsewhere',
  );
  opened.serializeMessage = asItIs;
}

/** Makes the call report the length of each frame before it is sent. Uses the same private method. */
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
 * Makes the call read its requests with this decoder, and decompress none to more than `maxBytes`. Both fields are
 * private ones of grpc-js 1.14. If they change, `test/integration/server-request-bodies.test.ts` fails.
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

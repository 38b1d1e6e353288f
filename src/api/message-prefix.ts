/*
 * gRPC puts a flag for compression and the length before each message of a stream. Handlers that build a response in
 * their own memory write the prefix in place, so that the transport does not copy the response.
 */

export const messagePrefixBytes = 5;

/** Writes the prefix of a message at `start` of a buffer. The message follows it, up to `end`. */
export function writeMessagePrefix(buffer: Buffer, start = 0, end = buffer.length): void {
  buffer.writeUInt8(0, start);
  buffer.writeUInt32BE(end - start - messagePrefixBytes, start + 1);
}

/** A message with its prefix, in memory of its own. */
export function withPrefix(message: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(messagePrefixBytes + message.length);
  writeMessagePrefix(frame);
  frame.set(message, messagePrefixBytes);
  return frame;
}

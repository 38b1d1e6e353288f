/*
 * gRPC puts a flag for compression and the length before each message of a stream. Handlers that build a response in
 * their own memory write the prefix in place, so that the transport does not copy the response.
 */

export const messagePrefixBytes = 5;

/** Writes the prefix at the start of a buffer that the message fills to its end. */
export function writeMessagePrefix(frame: Buffer): void {
  frame.writeUInt8(0, 0);
  frame.writeUInt32BE(frame.length - messagePrefixBytes, 1);
}

/** A message with its prefix, in memory of its own. */
export function withPrefix(message: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(messagePrefixBytes + message.length);
  writeMessagePrefix(frame);
  frame.set(message, messagePrefixBytes);
  return frame;
}

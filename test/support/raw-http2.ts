import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

/*
 * HTTP/2 frames as bytes, for clients that do what no library does: thousands of calls in one write, resets at once,
 * answers that are never read. See RFC 9113 for frames, RFC 7541 for headers.
 */

const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const frameType = { data: 0, headers: 1, rstStream: 3, settings: 4, continuation: 9 } as const;
const flag = { endStream: 1, endHeaders: 4 } as const;
const cancel = 8;
/** The setting. */
const initialWindowSize = 4;
const largestPayload = 16_384;

function frameOf(type: number, flags: number, streamId: number, payload: Buffer): Buffer {
  const frame = Buffer.alloc(9 + payload.length);
  frame.writeUIntBE(payload.length, 0, 3);
  frame.writeUInt8(type, 3);
  frame.writeUInt8(flags, 4);
  frame.writeUInt32BE(streamId, 5);
  payload.copy(frame, 9);
  return frame;
}

/** A string without Huffman coding; its length is an integer with a prefix of 7 bits. */
function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  if (bytes.length < 127) return Buffer.concat([Buffer.of(bytes.length), bytes]);
  const length = [127];
  let rest = bytes.length - 127;
  for (; rest >= 128; rest = Math.floor(rest / 128)) length.push((rest % 128) | 128);
  length.push(rest);
  return Buffer.concat([Buffer.from(length), bytes]);
}

/** A field that is not put into the table of the connection: every call can send the same bytes. */
function field(name: string, value: string): Buffer {
  return Buffer.concat([Buffer.of(0), text(name), text(value)]);
}

function headerBlock(path: string, extra: Readonly<Record<string, string>>): Buffer {
  return Buffer.concat([
    field(':method', 'POST'),
    field(':scheme', 'http'),
    field(':authority', 'localhost'),
    field(':path', path),
    field('content-type', 'application/grpc'),
    field('te', 'trailers'),
    ...Object.entries(extra).map(([name, value]) => field(name, value)),
  ]);
}

/** What a call sends, without its stream's number. */
export interface RawCall {
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** With the prefix of gRPC; its end closes the client's half. Absent: the call stays open without a body. */
  readonly body?: Uint8Array;
  /** The client's half stays open behind the body. */
  readonly isOpen?: boolean;
  readonly isReset?: boolean;
}

/** The frames of one call. */
function callFrames(
  streamId: number,
  { path, headers = {}, body, isOpen = false, isReset = false }: RawCall,
): Buffer {
  const block = headerBlock(path, headers);
  const frames: Buffer[] = [];
  for (let at = 0; at === 0 || at < block.length; at += largestPayload) {
    const part = block.subarray(at, at + largestPayload);
    const isLast = at + largestPayload >= block.length;
    const type = at === 0 ? frameType.headers : frameType.continuation;
    frames.push(frameOf(type, isLast ? flag.endHeaders : 0, streamId, part));
  }
  for (let at = 0; body !== undefined && at < body.length; at += largestPayload) {
    const part = Buffer.from(body.subarray(at, at + largestPayload));
    const isEnd = at + largestPayload >= body.length && !isOpen;
    frames.push(frameOf(frameType.data, isEnd ? flag.endStream : 0, streamId, part));
  }
  if (isReset) {
    const code = Buffer.alloc(4);
    code.writeUInt32BE(cancel);
    frames.push(frameOf(frameType.rstStream, 0, streamId, code));
  }
  return Buffer.concat(frames);
}

/** A connection that only writes. What the broker sends is thrown away, or left in the socket. */
export class RawHttp2 {
  readonly socket: Socket;
  #nextStreamId = 1;
  #isClosed = false;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('error', () => {});
    socket.on('close', () => {
      this.#isClosed = true;
    });
  }

  /** `windowBytes`: what the broker may send on a stream, for good; 64 KiB where it is left out. */
  static async open(address: string, windowBytes?: number): Promise<RawHttp2> {
    const [host, port] = address.split(':');
    const socket = connect(Number(port), host);
    const connection = new RawHttp2(socket);
    await once(socket, 'connect');
    const settings = Buffer.alloc(windowBytes === undefined ? 0 : 6);
    if (windowBytes !== undefined) {
      settings.writeUInt16BE(initialWindowSize, 0);
      settings.writeUInt32BE(windowBytes, 2);
    }
    socket.write(Buffer.concat([preface, frameOf(frameType.settings, 0, 0, settings)]));
    return connection;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Sends so many calls in one write; resolves when they have left or the connection is gone. */
  async send(call: RawCall, count: number): Promise<void> {
    if (this.#isClosed) return;
    const frames: Buffer[] = [];
    for (let i = 0; i < count; i++, this.#nextStreamId += 2)
      frames.push(callFrames(this.#nextStreamId, call));
    await new Promise<void>((resolve) => {
      // Called with an error, too, once the connection is gone.
      this.socket.write(Buffer.concat(frames), () => resolve());
    });
  }

  /** Reads on, and throws away what comes. */
  drain(): this {
    this.socket.resume();
    return this;
  }

  destroy(): void {
    this.socket.destroy();
  }
}

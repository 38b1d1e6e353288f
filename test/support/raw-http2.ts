import { once } from 'node:events';
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from 'node:http2';

/** A gRPC message on the wire: not compressed, its length, its bytes. */
export function grpcFrame(message: Uint8Array): Buffer {
  const frame = Buffer.alloc(5 + message.length);
  frame.writeUInt32BE(message.length, 1);
  frame.set(message, 5);
  return frame;
}

/** HTTP/2 without a gRPC library in between: for what such a library would hide. */
export class RawConnection {
  readonly session: ClientHttp2Session;

  private constructor(session: ClientHttp2Session) {
    this.session = session;
  }

  static async open(address: string): Promise<RawConnection> {
    const session = connect(`http://${address}`);
    await once(session, 'remoteSettings');
    return new RawConnection(session);
  }

  call(path: string): ClientHttp2Stream {
    return this.session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers',
    });
  }

  /** The server has handled every frame that was sent before. */
  async barrier(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.session.ping((error) => (error === null ? resolve() : reject(error)));
    });
  }

  close(): void {
    this.session.destroy();
  }
}
